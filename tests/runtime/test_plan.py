"""The tile plan's invariants, on random geometry, and one layout worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import PlanError
from dmn_runtime.geometry import Region, whole
from dmn_runtime.plan import Footprint, Plan, lay_tiles, make_plan, reflect


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    stride = draw(st.sampled_from([1, 2, 4, 8]))
    footprint = Footprint(stride, stride * draw(st.integers(0, 4)), draw(st.integers(0, 2)))
    block = draw(st.none() | st.tuples(st.integers(1, 5), st.integers(1, 90), st.integers(1, 90)))
    return make_plan(
        shape,
        (50.0, draw(st.sampled_from([4.0, 4.6, 5.0, 10.0, 17.3])), draw(st.sampled_from([4.6, 10.0]))),
        draw(st.sampled_from([None, 5.0, 10.0])),
        footprint,
        grid=draw(st.sampled_from(["volume", "working"])),
        tile_px=draw(st.none() | st.integers(1, 70)),
        block=block,
    )


def counted(shape: tuple[int, int, int], regions: list[Region]) -> np.ndarray:
    count = np.zeros(shape, np.int32)
    for region in regions:
        assert whole(shape).contains(region)
        count[region.slices] += 1
    return count


@given(plans())
def test_blocks_partition_the_output_grid(plan: Plan) -> None:
    count = counted(plan.output_shape, [block.output for block in plan.blocks()])
    assert (count == 1).all()


@given(plans())
def test_tiles_partition_the_core_of_their_block(plan: Plan) -> None:
    for block in plan.blocks():
        cores = [tile.core.relative_to(block.core.start) for tile in block.tiles]
        assert (counted(block.core.shape, cores) == 1).all()


@given(plans())
def test_cores_cover_the_working_grid_and_partition_it_without_resampling(plan: Plan) -> None:
    count = counted(plan.working_shape, [t.core for b in plan.blocks() for t in b.tiles])
    if plan.back.is_identity:
        assert (count == 1).all()
    elif plan.back.y.scale <= 1 and plan.back.x.scale <= 1:
        assert (count >= 1).all()


@given(plans())
def test_reads_are_core_plus_halo_on_the_stride(plan: Plan) -> None:
    stride, halo = plan.footprint.stride_px, plan.footprint.halo_px
    for block in plan.blocks():
        for tile in block.tiles:
            read = tile.read(plan.footprint)
            assert read.contains(tile.core.grown(plan.footprint.margin))
            assert block.read.contains(read)
            assert tile.inner.contains(tile.core)
            for axis in (1, 2):
                assert read.start[axis] % stride == 0
                assert read.shape[axis] % stride == 0
                assert tile.core.start[axis] - tile.inner.start[axis] < stride
                assert tile.core.shape[axis] <= plan.tile[axis]
                assert tile.inner.start[axis] - read.start[axis] == halo


def test_a_layout_worked_out_by_hand() -> None:
    plan = make_plan((1, 20, 10), (50, 5, 5), None, Footprint(4, 8, 1), tile_px=9, block=(1, 16, 16))
    first, second = plan.blocks()
    assert first.output == Region((0, 0, 0), (1, 16, 10))
    assert first.read == Region((-1, -8, -8), (2, 24, 20))
    # 16 rows in tiles of at most 12 (9 rounded up to the stride) are two of 8; 10 columns are one of 12.
    assert [tile.core for tile in first.tiles] == [
        Region((0, 0, 0), (1, 8, 10)),
        Region((0, 8, 0), (1, 16, 10)),
    ]
    assert first.tiles[0].inner == Region((0, 0, 0), (1, 8, 12))
    assert second.output == Region((0, 16, 0), (1, 20, 10))


def test_a_coarser_working_grid_reads_what_interpolation_needs() -> None:
    plan = make_plan((1, 64, 64), (50, 5, 5), 10.0, Footprint(1, 0, 0), block=(1, 32, 32))
    # Output row 32 lies at working row 15.75: rows 15 and 16.
    assert plan.block_at(2).core == Region((0, 15, 0), (1, 32, 17))
    assert plan.working_shape == (1, 32, 32)


@given(st.integers(-40, 40), st.integers(1, 60), st.integers(1, 12))
def test_reflection_is_numpys(start: int, length: int, n: int) -> None:
    padded = np.pad(np.arange(n), 120, mode="reflect") if n > 1 else np.zeros(241, int)
    np.testing.assert_array_equal(
        reflect(start, start + length, n), padded[120 + start : 120 + start + length]
    )


def test_tiles_of_a_long_row_are_nearly_equal() -> None:
    tiles = lay_tiles(Region((0, 0, 0), (1, 8, 1032)), (1, 1024, 1024), 8)
    assert [tile.core.shape[2] for tile in tiles] == [520, 512]


@given(st.sampled_from([0.4, 1.0, 5.0, 9.9, 10.0, 50.0, 250.0]), st.integers(1, 9), st.integers(1, 5000))
def test_a_default_blocks_core_is_bounded_whatever_the_voxel_size(voxel: float, z: int, y: int) -> None:
    plan = make_plan((z, y, 3000), (50, voxel, voxel), 10.0, Footprint(8, 64, 1))
    assert max(plan.block_at(0).core.shape[1:]) <= 1024 + 32


@given(plans())
def test_the_count_of_tiles_is_the_tiles(plan: Plan) -> None:
    assert plan.tile_count() == sum(len(block.tiles) for block in plan.blocks())


@pytest.mark.parametrize("voxel", [0.3, 330.0])
def test_voxel_sizes_too_far_apart_are_a_mistaken_unit(voxel: float) -> None:
    with pytest.raises(PlanError, match="factor of 32 apart"):
        make_plan((1, 64, 64), (50, 10, voxel), 10.0, Footprint(8, 64, 0))


@pytest.mark.parametrize("block", [(0, 8, 8), (1, -1, 8)])
def test_an_impossible_block_is_refused(block: tuple[int, int, int]) -> None:
    with pytest.raises(PlanError, match="at least 1"):
        make_plan((4, 32, 32), (1, 1, 1), None, Footprint(8, 16, 0), block=block)


def test_a_halo_off_the_stride_is_refused() -> None:
    with pytest.raises(PlanError, match="no multiple of the stride"):
        make_plan((4, 32, 32), (1, 1, 1), None, Footprint(8, 12, 0))
