"""`dmn infer` on the fake GPU: as on the processor, and aloud where the kernels do not run."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile

from dmn_runtime import inference
from dmn_runtime.engines import catalogue
from dmn_runtime.engines.catalogue import Kind
from dmn_runtime.errors import EngineError
from dmn_runtime.geometry import Triple
from dmn_runtime.inference import Watch, infer
from dmn_runtime.plan import Footprint, make_plan
from dmn_runtime.report import Report
from dmn_runtime.setup import Options
from dmn_runtime.stream import threads_for_gpu
from dmn_runtime.workforce import largest_core


def _double(name: str) -> ModuleType:
    title = f"dmn_test_{name}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


@pytest.fixture
def device() -> Any:
    return _double("numpy_device").NumpyDevice()


@pytest.fixture
def fake_gpu(device: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put the fake GPU in the place of CUDA."""

    def open_fake(order: Any) -> Any:
        device.make_current()
        return _double("device_network").FakeDeviceRunner(device, order.package.network(order.precision))

    kinds = tuple(
        Kind("cuda", ("fp32",), lambda: None, open_fake, on_gpu=True) if kind.word == "cuda" else kind
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return device


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    voxels = np.random.default_rng(0).integers(0, 256, (5, 70, 61)).astype(np.uint8)
    tifffile.imwrite(path, voxels, photometric="minisblack")
    return path


def run(package: Path, stack: Path, output: Path, engine: str, **more: Any) -> tuple[Report, list[str]]:
    said: list[str] = []
    options = Options(
        package=str(package), volume=str(stack), output=output, voxel_nm=(50, 5, 5), engine=engine,
        block=(3, 32, 32), tile_px=16, **more,
    )  # fmt: skip
    report = infer(options, Watch(said.append, lambda _: None, lambda _: None))
    assert report is not None
    return report, said


@pytest.mark.parametrize("working_nm", [None, 8.0])
def test_the_output_is_that_of_the_processor(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path, working_nm: float | None
) -> None:
    package = small_package(context=1, working_nm=working_nm)
    report, _ = run(package, stack, tmp_path / "gpu.tif", "cuda", check_seams=True)
    run(package, stack, tmp_path / "cpu.tif", "cpu")
    assert report.engine == "fp32 by a fake, NumPy, tiles of 28 px"
    assert {"stage", "device", "read", "write"} <= set(report.busy_s)
    found, expected = (
        tifffile.imread(tmp_path / f"{name}.probability.tif").astype(int) for name in ("gpu", "cpu")
    )
    assert np.abs(found - expected).max() <= 1
    assert report.seams is not None
    assert report.seams.faces.max_grey <= 1
    fake_gpu.check_empty()


def test_a_run_that_is_stopped_leaves_nothing_on_the_gpu(
    fake_gpu: Any,
    small_package: Callable[..., Path],
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "run_stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(small_package(), stack, tmp_path / "gpu.tif", "cuda")
    fake_gpu.check_empty()


def test_a_gpu_without_our_kernels_is_fed_by_the_processor_aloud(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    fake_gpu.refusals["load"] = [EngineError("the kernels hold no code for this GPU")]
    report, said = run(small_package(), stack, tmp_path / "gpu.tif", "cuda")
    assert "tiles are cut on the processor, which is slower: the kernels hold no code for this GPU" in said
    assert set(report.busy_s) >= {"gather", "network", "scatter"}
    fake_gpu.check_empty()


@pytest.mark.parametrize("at", [0, 2])
def test_the_largest_core_holds_all(at: int) -> None:
    shape: Triple = (3, 100 + at, 91)
    plan = make_plan(shape, (50, 4.6, 4.6), 10.0, Footprint(4, 8, 0), block=(2, 40, 40))
    largest = largest_core(plan)
    for block in plan.blocks():
        assert all(a <= b for a, b in zip(block.core.shape, largest, strict=True))


def test_the_threads_around_a_gpu() -> None:
    assert vars(threads_for_gpu(3, 16)) == {"readers": 4, "workers": 3, "writers": 8, "slots": 19}
    assert vars(threads_for_gpu(1, 2)) == {"readers": 1, "workers": 1, "writers": 1, "slots": 4}
