"""Gather and scatter in NumPy, each beside np.copyto of the bytes that it moves.

    .venv/bin/python -m pytest benchmarks/test_tiles.py

`tiles` is what a processor runs; `twin` is the reference that the fused kernels are held against, which is
written to be read and not to be fast. Both do the same tiles of one block. Bytes are counted once each: grey
values read and network input written, or logits of the core read and probabilities written; the copy reads
half as many and writes the other half, before every round of the kernel, so that a machine that drifts costs
both alike. One thread.
"""

import statistics
from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.gpu.sheet import Slab, lay_sheets
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.gpu.twins import gather_batch, scatter_batch
from dmn_runtime.normalise import IntensityMap
from dmn_runtime.plan import Block, Footprint, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.tiles import crop, gather, scatter
from dmn_runtime.volume.base import Voxels

from .material import SIZE, VOXEL_NM, carry, tissue

GIGA = 1e9
EDGE_PX = SIZE.tile_px + 2 * SIZE.footprint.halo_px
SHAPE = (SIZE.block[0], 2 * SIZE.block[1], 2 * SIZE.block[2])


def footprint(context_slices: int) -> Footprint:
    return Footprint(SIZE.footprint.stride_px, SIZE.footprint.halo_px, context_slices)


def block_and_slab(context_slices: int) -> tuple[Block, Slab]:
    """Return the first block of a volume, with mirrored sides, and the same as one slab."""
    need = footprint(context_slices)
    plan = make_plan(SHAPE, VOXEL_NM, None, need, tile_px=SIZE.tile_px, block=SIZE.block)
    block = plan.block_at(0)
    [slab] = cut_slabs(block.core, SHAPE, need, EDGE_PX, SIZE.block[0])
    return block, slab


def table_of(voxels: Voxels) -> NDArray[np.float32]:
    most = float(np.iinfo(voxels.dtype).max)
    return IntensityMap(0.1 * most, 0.9 * most, 3.0).table(voxels.dtype)


def beside_a_copy(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    kernel: Callable[[], object],
    voxels: int,
    nbytes: int,
) -> None:
    """Time a kernel, and before each of its rounds a copy; print both as bytes per second."""
    source = np.resize(tissue(SIZE.block).reshape(-1), nbytes // 2)
    target = np.empty_like(source)
    copy_s: list[float] = []

    def copy() -> None:
        begin = perf_counter()
        np.copyto(target, source)
        copy_s.append(perf_counter() - begin)

    if not benchmark.disabled:
        kernel()  # the first calls of both take pages from the system
        copy()
        copy_s.clear()
    benchmark.pedantic(kernel, setup=copy, rounds=SIZE.rounds)
    carry(benchmark, voxels, bytes=nbytes)
    if benchmark.disabled:
        return
    kernel_s = benchmark.stats.stats.data
    shares = [copied / own for copied, own in zip(copy_s, kernel_s, strict=True)]
    speed, copied = (nbytes / statistics.median(spent) / GIGA for spent in (kernel_s, copy_s))
    benchmark.extra_info |= {
        "gb_per_s": speed,
        "copy_gb_per_s": copied,
        "share_of_copy": statistics.median(shares),
        "share_of_copy_min": min(shares),
        "share_of_copy_max": max(shares),
    }
    with capsys.disabled():
        print(
            f"\n{benchmark.name}: {speed:.2f} GB/s, np.copyto {copied:.2f} GB/s, share "
            f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        )


@pytest.mark.parametrize("context_slices", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("which", ["tiles", "twin float32", "twin float16"])
def test_gather(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    which: str,
    dtype: str,
    context_slices: int,
) -> None:
    benchmark.group = f"gather: {dtype}, {2 * context_slices + 1} channels"
    voxels, (block, slab) = tissue(SHAPE, dtype), block_and_slab(context_slices)
    table = table_of(voxels).astype("float16" if which == "twin float16" else "float32")
    pixels = len(block.tiles) * EDGE_PX**2
    written = pixels * (2 * context_slices + 1) * table.itemsize
    if which == "tiles":
        patches = patches_of(voxels, block, context_slices)
        read = sum(patch.nbytes for patch in patches)

        def kernel() -> None:
            for patch in patches:
                gather(patch, table, context_slices)
    else:
        sheets = lay_sheets(slab, SHAPE, footprint(context_slices), len(slab.tiles))
        patch, channels = pitched(voxels, slab), 2 * context_slices + 1
        read = slab.patch.size * voxels.itemsize

        def kernel() -> None:
            for sheet in sheets:
                gather_batch(patch, sheet, table, channels, EDGE_PX, EDGE_PX)

    beside_a_copy(benchmark, capsys, kernel, block.core.size, read + written)


def patches_of(voxels: Voxels, block: Block, context_slices: int) -> list[Voxels]:
    """Return what the stream hands to the engine for each tile: views of the block's voxels."""
    need = footprint(context_slices)
    plan = make_plan(SHAPE, VOXEL_NM, None, need, tile_px=SIZE.tile_px, block=SIZE.block)
    whole = read_working(lambda region: voxels[region.slices], plan, block.read)
    return [whole[tile.read(need).relative_to(block.read.start).slices] for tile in block.tiles]


def pitched(voxels: Voxels, slab: Slab) -> Voxels:
    """Return the slab's patch with rows as long as on a device."""
    z, y, x = slab.patch.shape
    patch: Voxels = np.zeros((z, y, slab.pitch), voxels.dtype)
    patch[:, :, :x] = voxels[slab.patch.slices]
    return patch


def logits_of(tiles: int, classes: int, dtype: str) -> NDArray[np.generic]:
    """Return made-up logits nchw between -4 and 4, different in each channel."""
    grey = tissue((tiles * classes, EDGE_PX, EDGE_PX)).reshape(tiles, classes, EDGE_PX, EDGE_PX)
    return ((grey.astype(np.float32) - 128.0) / 32.0).astype(dtype)


@pytest.mark.benchmark(group="scatter: one class, probabilities")
@pytest.mark.parametrize("which", ["tiles", "twin float32", "twin float16"])
def test_scatter(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], which: str) -> None:
    block, slab = block_and_slab(0)
    logits = logits_of(len(block.tiles), 1, "float16" if which == "twin float16" else "float32")
    core, halo = block.core.size, footprint(0).halo_px
    if which == "tiles":
        images = [one[None] for one in logits]
        assert sum(crop(one, halo).size for one in images) == core

        def kernel() -> None:
            for one in images:
                scatter(one, halo)
    else:
        [sheet] = lay_sheets(slab, SHAPE, footprint(0), len(slab.tiles))
        probability = np.empty(block.core.shape, np.uint8)

        def kernel() -> None:
            scatter_batch(logits, sheet, probability)

    beside_a_copy(benchmark, capsys, kernel, core, core * (logits.itemsize + 1))


@pytest.mark.benchmark(group="scatter: probabilities and mask, twin")
@pytest.mark.parametrize("classes", [1, 3])
def test_scatter_with_mask(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], classes: int
) -> None:
    block, slab = block_and_slab(0)
    logits = logits_of(len(block.tiles), classes, "float32")
    [sheet] = lay_sheets(slab, SHAPE, footprint(0), len(slab.tiles))
    probability, mask = (np.empty(block.core.shape, np.uint8) for _ in range(2))
    core = block.core.size
    beside_a_copy(
        benchmark,
        capsys,
        lambda: scatter_batch(logits, sheet, probability, mask),
        core,
        core * (classes * logits.itemsize + 2),
    )
