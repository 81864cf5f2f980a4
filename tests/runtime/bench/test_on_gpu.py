"""A bench on the fake GPU: what is timed there, and what is not."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile

from dmn_runtime.bench.measure import BenchOptions, Tools, run_bench
from dmn_runtime.bench.rounds import Ceilings, Extent
from dmn_runtime.bench.text import bench_text
from dmn_runtime.engines import catalogue
from dmn_runtime.engines.catalogue import Kind
from dmn_runtime.stream import threads_for_gpu

PX = 28 * 28  # a tile of 16 px with 6 px around


def _double(name: str) -> ModuleType:
    title = f"dmn_test_{name}"
    if title not in sys.modules:
        path = Path(__file__).parents[1] / "gpu" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put a fake GPU in the place of CUDA."""
    found = _double("numpy_device").NumpyDevice()

    def open_fake(order: Any) -> Any:
        found.make_current()
        return _double("device_network").FakeDeviceRunner(found, order.package.network(order.precision))

    kinds = tuple(
        Kind("cuda", ("fp32",), lambda: None, open_fake, on_gpu=True) if kind.word == "cuda" else kind
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return found


def unasked(_: object) -> Ceilings:
    raise AssertionError("the processor's ceilings say nothing of a GPU")


def test_network_and_kernels_are_timed_on_the_device(
    small_package: Callable[..., Path], device: Any, tmp_path: Path
) -> None:
    stack = tmp_path / "stack.tif"
    voxels = np.random.default_rng(0).integers(0, 256, (3, 32, 64)).astype(np.uint8)
    tifffile.imwrite(stack, voxels, photometric="minisblack")
    options = BenchOptions(
        str(small_package()), str(stack), engine="cuda", tile_px=16, block=(3, 32, 32), workers=2, quick=True
    )
    said: list[str] = []
    bench = run_bench(options, said.append, Tools(ceilings=unasked))
    assert bench.engine.on_gpu
    assert bench.extent == Extent(3 * 32 * 64, 24 * PX, 24)
    [one] = bench.rounds
    assert one.ceilings is None
    # Of each byte once: two slabs of 3 slices read, 24 tiles of float32 written; the reverse of the cores.
    gathered_bytes = one.gather.bytes_per_s * 24 * PX / one.gather.px_per_s
    assert gathered_bytes == pytest.approx(2 * 3 * 32 * 38 + 4 * 24 * PX)
    scattered_bytes = one.scatter.bytes_per_s * 24 * PX / one.scatter.px_per_s
    assert scattered_bytes == pytest.approx(5 * 3 * 32 * 64)
    assert {stage.name for stage in bench.stages} >= {"stage", "device", "write"}
    assert bench.threads == threads_for_gpu(bench.threads.workers, 2)
    assert "ceilings: not measured on a GPU" in bench_text(bench)
    device.check_empty()
