"""Contours and their surface Dice against hand values and a plain twin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dmn_train.study.contours import compare_contours, contour, surface_dice

Mask = NDArray[np.bool_]
PIXEL_NM = (10.0, 10.0)  # the tolerance of 20 nm is 2 px


def square(first: int, stop: int, shape: tuple[int, int] = (20, 20)) -> Mask:
    mask = np.zeros(shape, np.bool_)
    mask[5:10, first:stop] = True
    return mask


def counts(prediction: Mask, truth: Mask, counted: Mask | None = None) -> list[int]:
    everywhere = np.ones_like(truth)
    return compare_contours(prediction, truth, everywhere if counted is None else counted, PIXEL_NM).tolist()


def test_a_contour_is_the_rim_of_the_mask() -> None:
    found = contour(square(5, 10), np.ones((20, 20), np.bool_))
    wanted = square(5, 10)
    wanted[6:9, 6:9] = False
    assert np.array_equal(found, wanted)


def test_neither_the_edge_of_the_image_nor_that_of_what_counts_makes_a_contour() -> None:
    assert not contour(np.ones((5, 5), np.bool_), np.ones((5, 5), np.bool_)).any()
    counted = np.ones((20, 20), np.bool_)
    counted[:, 8:] = False  # through the square
    found = contour(square(5, 10), counted)
    assert np.argwhere(found).tolist() == [
        *([5, 5], [5, 6], [5, 7]),
        *([6, 5], [7, 5], [8, 5]),
        *([9, 5], [9, 6], [9, 7]),
    ]
    counted[:] = True
    counted[:, 4] = False  # beside it: what lies there is not known
    assert [6, 5] not in np.argwhere(contour(square(5, 10), counted)).tolist()


def test_equal_contours_are_close_everywhere() -> None:
    assert counts(square(5, 10), square(5, 10)) == [16, 16, 16, 16]


def test_a_shift_of_the_tolerance_is_close_and_one_pixel_more_is_not() -> None:
    assert counts(square(7, 12), square(5, 10)) == [16, 16, 16, 16]
    # 3 px to the right: 5 px of its right side are too far from the other, 5 px of the other's left from it.
    assert counts(square(8, 13), square(5, 10)) == [16, 11, 16, 11]


def test_distances_are_physical() -> None:
    rows = np.zeros((9, 9), np.bool_)
    rows[2] = True
    everywhere, moved = np.ones_like(rows), np.roll(rows, 2, axis=0)
    assert compare_contours(moved, rows, everywhere, (10.0, 50.0)).tolist() == [9, 9, 9, 9]
    assert compare_contours(moved, rows, everywhere, (10.1, 1.0)).tolist() == [9, 0, 9, 0]
    assert compare_contours(moved.T, rows.T, everywhere, (1.0, 10.1)).tolist() == [9, 0, 9, 0]
    assert compare_contours(moved, rows, everywhere, (20 / 3 * 1.5, 1.0)).tolist() == [9, 9, 9, 9]


def test_a_side_without_contour_is_close_to_nothing() -> None:
    nothing = np.zeros((20, 20), np.bool_)
    assert counts(nothing, square(5, 10)) == [0, 0, 16, 0]
    assert counts(square(5, 10), nothing) == [16, 0, 0, 0]
    assert counts(nothing, nothing) == [0, 0, 0, 0]


def test_what_does_not_count_is_on_neither_side() -> None:
    counted = np.ones((20, 20), np.bool_)
    counted[:, 10:] = False
    both = square(5, 10) | square(15, 18)
    assert counts(both, square(5, 10), counted) == counts(square(5, 10), square(5, 10), counted)


@given(
    *(arrays(np.bool_, (7, 8)) for _ in range(2)),
    arrays(np.bool_, (7, 8), elements=st.sampled_from([True, True, True, False])),
    st.sampled_from([(10.0, 10.0), (20 / 3, 4.6), (8.0, 25.0)]),
)
def test_a_plain_twin_counts_the_same(
    prediction: Mask, truth: Mask, counted: Mask, pixel_nm: tuple[float, float]
) -> None:
    places = [(int(y), int(x)) for y, x in np.argwhere(counted)]

    def rim(mask: Mask) -> list[tuple[int, int]]:
        return [
            (y, x)
            for y, x in places
            if mask[y, x]
            and any(at in places and not mask[at] for at in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)))
        ]

    def close(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
        return sum(
            any(math.hypot((y - v) * pixel_nm[0], (x - u) * pixel_nm[1]) <= 20.0 + 1e-9 for v, u in others)
            for y, x in some
        )

    found, true = rim(prediction), rim(truth)
    wanted = [len(found), close(found, true), len(true), close(true, found)]
    assert compare_contours(prediction, truth, counted, pixel_nm).tolist() == wanted


def test_surface_dice_is_the_mean_of_slices_with_a_contour() -> None:
    contours = np.array([[10, 5, 30, 15], [0, 0, 0, 0], [8, 0, 0, 0], [0, 0, 8, 0]], np.int64)
    assert surface_dice(contours) == pytest.approx((0.5 + 0 + 0) / 3)
    assert surface_dice(contours[:1]) == 0.5
    assert surface_dice(contours[1:2]) is None
