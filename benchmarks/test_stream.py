"""The stream with an engine that does nothing: what remains is the stream's own cost.

    .venv/bin/python -m pytest benchmarks/test_stream.py

Reading returns voxels that are there already, writing forgets them, the engine answers with probabilities
that were made before. What is left is queues, locks, threads, laying out blocks, and the copy of each tile's
answer into its block. `small` blocks show the cost of a block and of a tile; `as in a run` has the plan's own
sizes, so its voxels per second are those that no engine can exceed with one reader and one writer.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.clock import Occupancy
from dmn_runtime.engines.base import BlockEngine, Engine
from dmn_runtime.geometry import Triple
from dmn_runtime.machine import logical_cores
from dmn_runtime.plan import Block, Footprint, Plan, make_plan
from dmn_runtime.stream import ByBlock, ByTile, Steps, Work, run_stream, threads_for, threads_for_gpu
from dmn_runtime.volume.base import Voxels

from .material import MEGA, SIZE, VOXEL_NM, carry, probability, tissue

SMALL_PX = 32
SMALL_FOOTPRINT = Footprint(stride_px=8, halo_px=8, context_slices=0)


@dataclass(frozen=True)
class Idle:
    """What the stream asks of an `Engine` and of a `BlockEngine`: hands out what it was given."""

    answer: NDArray[np.uint8]
    footprint: Footprint

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the answer in the shape of the patch's core, a view."""
        z, y, x = (n - 2 * m for n, m in zip(patch.shape, self.footprint.margin, strict=True))
        return self.answer[:z, :y, :x]

    def segment_block(self, block: Block, patch: Voxels, probability: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Copy the answer into a block."""
        z, y, x = block.core.shape
        probability[...] = self.answer[:z, :y, :x]


@dataclass(frozen=True)
class Case:
    """A plan: blocks of `block` voxels zyx, tiles with cores of at most `tile_px`."""

    block: Triple
    tile_px: int
    blocks: int
    footprint: Footprint

    def plan(self) -> Plan:
        """Lay the blocks on each other in z."""
        z, y, x = self.block
        shape = (z * self.blocks, y, x)
        return make_plan(shape, VOXEL_NM, None, self.footprint, tile_px=self.tile_px, block=self.block)


MANY_PX = 8 * SMALL_PX
CASES = {
    "small, 1 tile a block": Case((1, SMALL_PX, SMALL_PX), SMALL_PX, SIZE.streamed_blocks, SMALL_FOOTPRINT),
    "small, 64 tiles a block": Case((1, MANY_PX, MANY_PX), SMALL_PX, SIZE.streamed_blocks, SMALL_FOOTPRINT),
    "as in a run": Case(SIZE.block, SIZE.tile_px, max(1, SIZE.streamed_blocks // 16), SIZE.footprint),
}
WORKERS = sorted({1, logical_cores()})


def streamed(benchmark: BenchmarkFixture, plan: Plan, work: Work, workers: int, *, gpu: bool) -> None:
    """Time the stream over a whole plan, and say what a block and a tile of it cost."""
    threads = threads_for_gpu(workers, logical_cores()) if gpu else threads_for(workers)
    patch, seen = tissue(plan.block_at(0).read.shape), []

    def read(block: Block) -> Voxels:
        z, y, x = block.read.shape
        return patch[:z, :y, :x]

    steps = Steps(read, lambda block, _: seen.append(block.index), lambda _: None)

    def run() -> None:
        seen.clear()
        run_stream(plan, range(len(plan)), work, steps, threads, Occupancy())

    benchmark.pedantic(run, rounds=4 * SIZE.rounds, warmup_rounds=1)
    assert sorted(seen) == list(range(len(plan)))
    z, y, x = plan.output_shape
    tiles = plan.tile_count()
    carry(benchmark, z * y * x, blocks=len(plan), tiles=tiles, workers=workers)
    if not benchmark.disabled:
        median_us = benchmark.stats.stats.median * MEGA
        benchmark.extra_info["us_per_block"] = median_us / len(plan)
        if not gpu:  # which takes the tiles of a block together
            benchmark.extra_info["us_per_tile"] = median_us / tiles


def idle(case: Case) -> Idle:
    return Idle(probability(case.block), case.footprint)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", CASES)
def test_by_tile(benchmark: BenchmarkFixture, name: str, workers: int) -> None:
    benchmark.group = f"stream: {name}"
    case = CASES[name]
    plan = case.plan()
    streamed(benchmark, plan, ByTile(cast("Engine", idle(case)), plan), workers, gpu=False)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", CASES)
def test_by_block(benchmark: BenchmarkFixture, name: str, workers: int) -> None:
    benchmark.group = f"stream: {name}"
    case = CASES[name]
    streamed(benchmark, case.plan(), ByBlock(cast("BlockEngine", idle(case))), workers, gpu=True)
