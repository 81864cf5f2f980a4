from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region
from dmn_runtime.sink.pyramid import Level, mean_levels, nearest_levels, plan_pyramid


def factors(levels: tuple[Level, ...]) -> list[tuple[int, int, int]]:
    return [level.factor for level in levels]


def test_isotropic_voxels_halve_on_all_axes() -> None:
    levels = plan_pyramid((1065, 2048, 1536), (32, 512, 512), (5.0, 5.0, 5.0))

    assert levels[0] == Level((1, 1, 1), (1065, 2048, 1536), (32, 512, 512), (16, 256, 256), (5.0, 5.0, 5.0))
    assert levels[3] == Level((8, 8, 8), (134, 256, 192), (4, 64, 64), (4, 64, 64), (40.0, 40.0, 40.0))
    assert len(levels) == 4


def test_thick_slices_wait_until_y_has_caught_up() -> None:
    levels = plan_pyramid((64, 8192, 8192), (16, 1024, 1024), (40.0, 5.0, 5.0))

    assert factors(levels) == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16), (4, 32, 32)]


@pytest.mark.parametrize(("z_nm", "second"), [(6.0, (2, 2, 2)), (7.0, (1, 2, 2))])
def test_z_is_halved_up_to_two_thirds_of_the_next_y(z_nm: float, second: tuple[int, int, int]) -> None:
    levels = plan_pyramid((64, 1024, 1024), (16, 512, 512), (z_nm, 5.0, 5.0))

    assert factors(levels)[1] == second


def test_single_slice_is_not_halved_on_z() -> None:
    levels = plan_pyramid((1, 1024, 1024), (16, 512, 512), (5.0, 5.0, 5.0))

    assert factors(levels) == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


def test_unknown_voxel_size_leaves_z_alone() -> None:
    levels = plan_pyramid((64, 1024, 1024), (16, 512, 512), None)

    assert factors(levels) == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert levels[2].voxel_nm is None


def test_z_stops_where_the_block_cannot_be_halved_and_y_goes_on() -> None:
    levels = plan_pyramid((64, 2048, 2048), (2, 512, 512), (5.0, 5.0, 5.0))

    assert factors(levels) == [(1, 1, 1), (2, 2, 2), (2, 4, 4), (2, 8, 8)]


def test_levels_end_where_y_of_the_block_is_odd() -> None:
    assert factors(plan_pyramid((1, 4000, 4000), (1, 250, 500), None)) == [(1, 1, 1), (1, 2, 2)]


def test_small_volume_has_one_level() -> None:
    assert len(plan_pyramid((300, 256, 256), (16, 512, 512), (5.0, 5.0, 5.0))) == 1


@pytest.mark.parametrize(
    ("edge", "chunk"), [(256, 256), (1024, 256), (1000, 250), (100, 100), (521, 521), (514, 257)]
)
def test_chunk_divides_the_shard_and_is_no_sliver(edge: int, chunk: int) -> None:
    assert plan_pyramid((1, 4000, 4000), (1, 512, edge), None)[0].chunk == (1, 256, chunk)


EDGES = st.integers(1, 40)
BLOCKS = st.tuples(
    st.sampled_from([1, 2, 4, 6]), st.sampled_from([4, 8, 12, 16]), st.sampled_from([4, 8, 16])
)


def deep_pyramid(shape: tuple[int, int, int], block: tuple[int, int, int], depth: int) -> tuple[Level, ...]:
    """Return levels of a small volume as a large one would have them."""
    big = plan_pyramid((shape[0], 10**6, 10**6), block, (5.0, 5.0, 5.0))[: depth + 1]
    return tuple(
        Level(
            level.factor,
            tuple(-(-n // f) for n, f in zip(shape, level.factor, strict=True)),
            level.shard,
            level.chunk,
            None,
        )
        for level in big
    )


def plain_mean(volume: np.ndarray, factor: tuple[int, int, int]) -> np.ndarray:
    """Average voxel by voxel, as one would on paper."""
    shape = tuple(-(-n // f) for n, f in zip(volume.shape, factor, strict=True))
    coarse = np.zeros(shape, np.uint8)
    for index in product(*map(range, shape)):
        window = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))
        covered = volume[window].astype(int)
        coarse[index] = (2 * covered.sum() + covered.size) // (2 * covered.size)
    return coarse


@given(st.tuples(st.integers(1, 9), EDGES, EDGES), BLOCKS, st.integers(0, 2**32 - 1))
def test_levels_of_the_blocks_are_the_levels_of_the_volume(
    shape: tuple[int, int, int], block: tuple[int, int, int], seed: int
) -> None:
    levels = deep_pyramid(shape, block, depth=3)
    volume = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    means = [np.full(level.shape, 77, np.uint8) for level in levels]
    labels = [np.full(level.shape, 77, np.uint8) for level in levels]

    for start in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
        region = Region(start, tuple(min(s + b, n) for s, b, n in zip(start, block, shape, strict=True)))
        mean, nearest = (
            mean_levels(volume[region.slices], levels),
            nearest_levels(volume[region.slices], levels),
        )
        for index, (level, m, n) in enumerate(zip(levels, mean, nearest, strict=True)):
            means[index][level.region(region).slices] = m
            labels[index][level.region(region).slices] = n

    for level, mean, label in zip(levels, means, labels, strict=True):
        z, y, x = level.factor
        np.testing.assert_array_equal(mean, plain_mean(volume, level.factor))
        np.testing.assert_array_equal(label, volume[::z, ::y, ::x])


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 30000), st.integers(1, 30000)),
    st.tuples(st.integers(1, 64), st.integers(1, 1024), st.integers(1, 1024)),
    st.none() | st.tuples(*[st.sampled_from([4.0, 5.0, 8.0, 50.0])] * 3),
)
def test_a_block_is_one_shard_of_every_level(shape, block, voxel_nm) -> None:
    levels = plan_pyramid(shape, block, voxel_nm)

    for level in levels:
        assert tuple(s * f for s, f in zip(level.shard, level.factor, strict=True)) == block
        assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))
        assert level.shape == tuple(-(-n // f) for n, f in zip(shape, level.factor, strict=True))
    assert all(max(level.shape[1:]) > 256 for level in levels[:-1])


def test_mean_is_rounded_half_up() -> None:
    levels = deep_pyramid((1, 2, 8), (1, 4, 8), depth=1)
    block = np.array([[[0, 0, 0, 1, 1, 1, 255, 255], [0, 1, 0, 1, 1, 0, 255, 254]]], np.uint8)

    # sums 1, 2, 3, 1019 over four voxels: 0.25, 0.5, 0.75, 254.75
    assert [*mean_levels(block, levels)][1].tolist() == [[[0, 1, 1, 255]]]


def test_sums_of_the_deepest_level_do_not_overflow() -> None:
    levels = plan_pyramid((64, 10**6, 10**6), (32, 512, 512), (5.0, 5.0, 5.0))
    white = np.full((32, 512, 512), 255, np.uint8)

    coarsest = [*mean_levels(white, levels)][-1]

    assert levels[-1].factor == (32, 512, 512)
    assert coarsest.tolist() == [[[255]]]
