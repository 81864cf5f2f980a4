"""A bench on the fake GPU: what is timed there, and what is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dmn_runtime.bench import measure
from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.measure import BenchOptions, Tools, run_bench
from dmn_runtime.bench.product import Ceiling
from dmn_runtime.bench.rounds import Ceilings, Extent
from dmn_runtime.bench.text import bench_text
from dmn_runtime.engines import catalogue
from dmn_runtime.engines.catalogue import Kind
from dmn_runtime.errors import EngineError
from dmn_runtime.stream import threads_for_gpu

PX = 28 * 28  # a tile of 16 px with 6 px around


@pytest.fixture
def device(numpy_device: Any, device_runner: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put a fake GPU in the place of CUDA."""

    def open_fake(order: Any) -> Any:
        numpy_device.make_current()
        return device_runner(numpy_device, order.package.network(order.precision))

    kinds = tuple(
        Kind("cuda", ("fp32",), lambda: None, open_fake, on_gpu=True) if kind.word == "cuda" else kind
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return numpy_device


def unasked(_: object) -> Ceilings:
    raise AssertionError("the processor's ceilings say nothing of a GPU")


def small_run(small_package: Callable[..., Path], tmp_path: Path) -> BenchOptions:
    stack = tmp_path / "stack.tif"
    voxels = np.random.default_rng(0).integers(0, 256, (3, 32, 64)).astype(np.uint8)
    tifffile.imwrite(stack, voxels, photometric="minisblack")
    return BenchOptions(
        str(small_package()), str(stack), engine="cuda", tile_px=16, block=(3, 32, 32), workers=2, quick=True
    )


def test_network_and_kernels_are_timed_on_the_device(
    small_package: Callable[..., Path], device: Any, tmp_path: Path
) -> None:
    free: list[int] = []

    def copy(on: Any) -> float:
        free.append(on.free_bytes())
        return 1e11

    device.make_current()
    before = device.free_bytes()
    tools = Tools(
        ceilings=unasked, product=lambda *asked: Ceiling(1e14, f"as {asked[0]} does"), gpu_copy=copy
    )
    bench = run_bench(small_run(small_package, tmp_path), lambda _: None, tools)
    assert bench.engine.on_gpu
    assert bench.extent == Extent(3 * 32 * 64, 24 * PX, 24)
    [one] = bench.rounds
    found = one.end_to_end.gpu
    assert found is not None
    assert found.share == (28, 8, 3, 3)
    assert found.free_before_bytes == before > found.free_after_bytes
    assert one.ceilings == Ceilings(1e11, None, None, 1e14)
    assert free == [before], "the engine still held memory"
    assert bench.figures["gather_percent_of_copy"].median == pytest.approx(one.gather.bytes_per_s / 1e9)
    # Of each byte once: two slabs of 3 slices read, 24 tiles of float32 written; the reverse of the cores.
    gathered_bytes = one.gather.bytes_per_s * 24 * PX / one.gather.px_per_s
    assert gathered_bytes == pytest.approx(2 * 3 * 32 * 38 + 4 * 24 * PX)
    scattered_bytes = one.scatter.bytes_per_s * 24 * PX / one.scatter.px_per_s
    assert scattered_bytes == pytest.approx(5 * 3 * 32 * 64)
    assert {stage.name for stage in bench.stages} >= {"stage", "device", "write"}
    assert bench.threads == threads_for_gpu(bench.threads.workers, 2)
    told = "ceilings: copy by the GPU's own threads; the engine's product: as cuda fp32 does"
    assert told in bench_text(bench)
    device.check_empty()


def test_what_cannot_be_measured_is_said_once(
    small_package: Callable[..., Path], device: Any, tmp_path: Path
) -> None:
    def refuse(*_: Any) -> Any:
        raise CeilingFault("there is no room")

    said: list[str] = []
    options = replace(small_run(small_package, tmp_path), rounds=2)
    bench = run_bench(options, said.append, Tools(ceilings=unasked, product=refuse, gpu_copy=refuse))
    assert [line for line in said if line.startswith("warning: the ")][-2:] == [
        "warning: the engine's matrix product cannot be measured: there is no room",
        "warning: the GPU's copy cannot be measured: there is no room",
    ]
    assert len([line for line in said if "there is no room" in line]) == 2
    assert "ceilings: no copy was measured; no matrix product was measured" in bench_text(bench)
    assert [name for name in bench.figures if "copy" in name or "matmul" in name] == []


def test_rounds_on_other_tiles_are_not_one_bench(
    small_package: Callable[..., Path], device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = iter([24, 48])
    alone = measure.alone_on_gpu

    def changing(*what: Any) -> Any:
        found = alone(*what)
        return replace(found, extent=replace(found.extent, tiles=next(tiles)))

    monkeypatch.setattr(measure, "alone_on_gpu", changing)
    tools = Tools(ceilings=unasked, product=lambda *_: Ceiling(1e14, "x"), gpu_copy=lambda _: 1e11)
    options = replace(small_run(small_package, tmp_path), rounds=2)
    with pytest.raises(
        EngineError, match=r"on 24 tiles \(\d+ px\) in one round and on 48 \(\d+ px\) in another"
    ):
        run_bench(options, lambda _: None, tools)
    device.check_empty()
