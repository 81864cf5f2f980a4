"""The plan: what it costs to lay out a run before and while it streams. Integers only, no voxel is touched.

.venv/bin/python -m pytest benchmarks/test_plan.py
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.gpu.sheet import lay_sheets
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.plan import Block, Plan, make_plan

from .material import SIZE, VOXEL_NM, carry

WORKING_NM = {"own grid": None, "coarser grid": 10.0, "finer grid": 4.0}
BATCH = 8


def planned(grid: str) -> Plan:
    return make_plan(
        SIZE.planned, VOXEL_NM, WORKING_NM[grid], SIZE.footprint, tile_px=SIZE.tile_px, block=SIZE.block
    )


def spread(plan: Plan) -> list[int]:
    """Return the blocks to lay out, evenly over the volume."""
    count = min(SIZE.planned_blocks, len(plan))
    return [i * len(plan) // count for i in range(count)]


@pytest.mark.benchmark(group="plan: a whole volume, with the number of its tiles")
@pytest.mark.parametrize("grid", WORKING_NM)
def test_whole_volume(benchmark: BenchmarkFixture, grid: str) -> None:
    tiles = benchmark(lambda: planned(grid).tile_count())
    z, y, x = SIZE.planned
    carry(benchmark, z * y * x, tiles=tiles)


@pytest.mark.benchmark(group="plan: blocks and their tiles")
@pytest.mark.parametrize("grid", WORKING_NM)
def test_blocks(benchmark: BenchmarkFixture, grid: str) -> None:
    plan = planned(grid)
    indices = spread(plan)

    def lay_out() -> list[Block]:
        return [plan.block_at(index) for index in indices]

    blocks = benchmark(lay_out)
    carry(benchmark, sum(block.output.size for block in blocks), blocks=len(blocks))


@pytest.mark.benchmark(group="plan: slabs and sheets of blocks, for a GPU")
@pytest.mark.parametrize("slices", [1, SIZE.block[0]])
def test_slabs_and_sheets(benchmark: BenchmarkFixture, slices: int) -> None:
    plan = planned("own grid")
    blocks = [plan.block_at(index) for index in spread(plan)]
    edge = SIZE.tile_px + 2 * plan.footprint.halo_px

    def lay_out() -> int:
        return sum(
            len(lay_sheets(slab, plan.working_shape, plan.footprint, BATCH))
            for block in blocks
            for slab in cut_slabs(block.core, plan.working_shape, plan.footprint, edge, slices)
        )

    sheets = benchmark(lay_out)
    carry(benchmark, sum(block.output.size for block in blocks), sheets=sheets)
