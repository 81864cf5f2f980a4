"""The kernels' twins: small cases by hand, and what `dmn_runtime.tiles` says of the same tiles."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dmn_runtime import tiles
from dmn_runtime.gpu.twins import copy_bytes, foreground, gather_batch, quantise, scatter_batch


def sheet_of(*rows: list[int], patch: list[int], volume: list[int], output: list[int]) -> Any:
    """Return a sheet whose patch is (start zyx, shape zyx); rows are tiles in use."""
    header = [*patch, *volume, patch[5], *output, len(rows), 0, 0]
    return np.array(header + [word for row in rows for word in row], np.int32)


def test_a_tile_over_the_corner_by_hand() -> None:
    patch = np.array([[[1, 2, 3, 99], [4, 5, 6, 99]]], np.uint8)
    sheet = sheet_of(
        [0, -1, -2, 0, 0, 0, 0, 0, 0, 0], patch=[0, 0, 0, 1, 2, 3], volume=[1, 2, 3], output=[1, 1, 1]
    )
    table = np.arange(256, dtype=np.float16) * 2
    batch = gather_batch(patch, sheet, table, 1, 4, 6)
    assert batch.dtype == np.float16
    np.testing.assert_array_equal(
        batch[0, 0],
        [[12, 10, 8, 10, 12, 10], [6, 4, 2, 4, 6, 4], [12, 10, 8, 10, 12, 10], [6, 4, 2, 4, 6, 4]],
    )


def test_what_was_not_uploaded_repeats_the_patch_s_edge() -> None:
    patch = np.array([[[7, 8]]], np.uint16)
    sheet = sheet_of(
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], patch=[0, 0, 2, 1, 1, 2], volume=[1, 1, 6], output=[1, 1, 1]
    )
    batch = gather_batch(patch, sheet, np.arange(65536, dtype=np.float32), 1, 1, 6)
    np.testing.assert_array_equal(batch[0, 0, 0], [7, 7, 7, 8, 8, 8])


def test_context_slices_are_channels_in_order_of_z() -> None:
    patch = np.array([10, 11, 12], np.uint8).reshape(3, 1, 1)
    rows = [[z, 0, 0, 0, 0, 0, 0, 0, 0, 0] for z in (0, 1, 2)]
    sheet = sheet_of(*rows, patch=[0, 0, 0, 3, 1, 1], volume=[3, 1, 1], output=[1, 1, 1])
    table = np.arange(256, dtype=np.float32)
    batch = gather_batch(patch, sheet, table, 3, 1, 1)
    np.testing.assert_array_equal(batch[:, :, 0, 0], [[11, 10, 11], [10, 11, 12], [11, 12, 11]])
    np.testing.assert_array_equal(
        gather_batch(patch, sheet, table, 3, 1, 1, "nhwc")[:, 0, 0], batch[:, :, 0, 0]
    )


@given(
    volume=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=3, max_side=9)),
    context=st.integers(0, 2),
)
def test_gather_is_the_one_of_the_cpu(volume: Any, context: int) -> None:
    depth, height, width = volume.shape
    table = np.random.default_rng(0).normal(size=256).astype(np.float32)
    read = np.pad(volume, ((context, context), (2, 2), (2, 2)), mode="reflect")
    rows = [[z, -2, -2, 0, 0, 0, 0, 0, 0, 0] for z in range(depth)]
    sheet = sheet_of(*rows, patch=[0, 0, 0, *volume.shape], volume=list(volume.shape), output=[1, 1, 1])
    np.testing.assert_array_equal(
        gather_batch(volume, sheet, table, 2 * context + 1, height + 4, width + 4),
        tiles.gather(read, table, context),
    )


@given(
    logits=hnp.arrays(np.float32, (2, 1, 9, 7), elements=st.floats(-200, 200, width=32)),
    halo=st.integers(0, 3),
    threshold=st.floats(0.01, 0.99),
)
def test_scatter_is_the_one_of_the_cpu(logits: Any, halo: int, threshold: float) -> None:
    shape = (2, 9 - 2 * halo, 7 - 2 * halo)
    rows = [[z, 0, 0, halo, halo, *shape[1:], z, 0, 0] for z in (0, 1)]
    sheet = sheet_of(*rows, patch=[0, 0, 0, 1, 1, 1], volume=[1, 1, 1], output=list(shape))
    probability, mask = np.full(shape, 7, np.uint8), np.full(shape, 7, np.uint8)
    scatter_batch(logits, sheet, probability, mask, tiles.grey_threshold(threshold))
    np.testing.assert_array_equal(probability, tiles.scatter(logits, halo))
    np.testing.assert_array_equal(mask, tiles.mask_of(probability, threshold))


def test_only_the_core_of_tiles_in_use_is_written() -> None:
    logits = np.full((2, 1, 4, 4), 100.0, np.float16)
    row = [0, 0, 0, 1, 1, 2, 1, 0, 1, 2]
    sheet = np.concatenate(
        [sheet_of(row, patch=[0, 0, 0, 1, 1, 1], volume=[1, 1, 1], output=[1, 4, 4]), np.ones(10, np.int32)]
    )
    probability = np.full((1, 4, 4), 7, np.uint8)
    scatter_batch(logits, sheet, probability)
    np.testing.assert_array_equal(probability[0], [[7] * 4, [7, 7, 255, 7], [7, 7, 255, 7], [7] * 4])


@given(hnp.arrays(np.float32, (4, 2, 3), elements=st.floats(-60, 60, width=32)))
def test_foreground_is_one_less_the_background_s_softmax(logits: Any) -> None:
    shares = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(foreground(logits), 1 - shares[0] / shares.sum(axis=0), atol=1e-6)


def test_the_class_of_a_voxel_is_its_largest_logit_s_first() -> None:
    logits = np.array([[5, 0, 0, 0], [0, 2, 3, 1], [0, 2, 1, 4]], np.float32).reshape(1, 3, 1, 4)
    row = [0, 0, 0, 0, 0, 1, 4, 0, 0, 0]
    sheet = sheet_of(row, patch=[0, 0, 0, 1, 1, 1], volume=[1, 1, 1], output=[1, 1, 4])
    probability, mask = np.zeros((1, 1, 4), np.uint8), np.full((1, 1, 4), 7, np.uint8)
    scatter_batch(logits, sheet, probability, mask)
    np.testing.assert_array_equal(mask, [[[0, 1, 1, 2]]])
    again, other = np.zeros_like(probability), np.zeros_like(mask)
    scatter_batch(np.ascontiguousarray(logits.transpose(0, 2, 3, 1)), sheet, again, other, layout="nhwc")
    np.testing.assert_array_equal(again, probability)
    np.testing.assert_array_equal(other, mask)


def test_a_copy_ends_where_it_was_told() -> None:
    target = np.full(5, 7, np.uint8)
    copy_bytes(np.array([1, 2, 3, 4], np.uint8), target, 3)
    np.testing.assert_array_equal(target, [1, 2, 3, 7, 7])


@pytest.mark.parametrize(
    ("probability", "grey"), [(0.0, 0), (0.499 / 255, 0), (0.5 / 255, 1), (0.5, 128), (1.0, 255)]
)
def test_levels_are_rounded_half_up(probability: float, grey: int) -> None:
    assert quantise(np.array([probability], np.float32)).item() == grey
