"""Resampling: the same bits whatever the blocks, and right against plain arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region, whole
from dmn_runtime.resample import Axis, inverse, resample_slices, to_working

NM = st.sampled_from([3.0, 4.6, 5.0, 7.3, 10.0, 20.0])


def plain(axis: Axis, row: np.ndarray) -> np.ndarray:
    """Average or interpolate a row of float64 by the definition, pixel by pixel."""
    out = np.empty(axis.n_out)
    for i in range(axis.n_out):
        if axis.scale >= 1:
            low, high = i * axis.scale, min((i + 1) * axis.scale, axis.n_in)
            low = min(low, axis.n_in - 1)
            share = np.clip(
                np.minimum(high, np.arange(axis.n_in) + 1) - np.maximum(low, np.arange(axis.n_in)), 0, 1
            )
            out[i] = (share * row).sum() / share.sum()
        else:
            at = min(max((i + 0.5) * axis.scale - 0.5, 0), axis.n_in - 1)
            out[i] = np.interp(at, np.arange(axis.n_in), row)
    return out


@given(st.integers(1, 60), NM, NM, st.integers(0, 2**32 - 1))
def test_each_axis_agrees_with_the_definition(n: int, voxel: float, working: float, seed: int) -> None:
    row = np.random.default_rng(seed).integers(0, 65536, n)
    volume = row.astype(np.uint16).reshape(1, 1, n)
    plan = to_working(volume.shape, (1, working, voxel), working)
    got = resample_slices(volume, (1, working, voxel), working)[0, 0]
    # Weights are rounded to 2^-15 each, so a grey value of 65535 may be off by a few levels.
    np.testing.assert_allclose(got, plain(plan.x, row.astype(float)), atol=8)


@given(NM, NM, st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**32 - 1), st.data())
def test_a_block_is_the_same_bits_as_the_whole(
    voxel: float, working: float, dtype: type, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, int(rng.integers(1, 50)), int(rng.integers(1, 50)))
    volume = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    forward = to_working(shape, (50, voxel, voxel), working)
    for plan, grey in (
        (forward, volume),
        (inverse(forward), resample_slices(volume, (50, voxel, voxel), working)),
    ):
        everything = plan.apply(grey, whole(plan.shape_in), whole(plan.shape_out))
        assert everything.shape == plan.shape_out
        start = tuple(data.draw(st.integers(0, n - 1)) for n in plan.shape_out)
        stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, plan.shape_out, strict=True))
        target = Region(start, stop)
        source = plan.source_of(target)
        assert whole(plan.shape_in).contains(source)
        np.testing.assert_array_equal(
            plan.apply(grey[source.slices], source, target), everything[target.slices]
        )


@given(st.integers(1, 4000), NM, NM)
def test_the_way_back_has_the_volumes_shape(n: int, voxel: float, working: float) -> None:
    forward = to_working((1, n, n), (1, voxel, voxel), working)
    assert inverse(forward).shape_out == (1, n, n)
    assert forward.y.n_out * working >= n * voxel * (1 - 1e-6)


def test_halving_is_the_rounded_mean_of_four() -> None:
    volume = np.array([[[0, 1, 10, 20], [2, 3, 30, 40]]], np.uint8)
    # Rows first: (0+2)/2, (1+3)/2, (10+30)/2, (20+40)/2; then columns: (1+2)/2 rounds half up to 2.
    np.testing.assert_array_equal(resample_slices(volume, (50, 5, 5), 10.0), [[[2, 25]]])


def test_a_constant_stays_constant() -> None:
    volume = np.full((1, 37, 53), 255, np.uint8)
    for voxel, working in ((4.6, 10.0), (10.0, 4.6)):
        assert (resample_slices(volume, (1, voxel, voxel), working) == 255).all()


def test_voxel_sizes_that_differ_in_the_last_bits_are_the_same() -> None:
    assert to_working((1, 1000, 1000), (1, 46 * 0.1, 4.60001), 4.6).is_identity


def test_no_working_grid_changes_nothing() -> None:
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(resample_slices(volume, (1, 1, 1), None), volume)


@pytest.mark.parametrize(("start", "stop", "expected"), [(0, 1, (0, 2)), (3, 5, (6, 10))])
def test_whole_steps_read_no_neighbour(start: int, stop: int, expected: tuple[int, int]) -> None:
    assert Axis(20, 10, 2.0).support(start, stop) == expected
