"""Pieces of a slice against counts by hand and by a plain flood fill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dmn_train.study.components import betti0_error, count_components

AREA_20_PX = (10.0, 10.0)  # the floor of 2,000 nm^2 is 20 px
EVERY_PIXEL = (50.0, 40.0)


def test_a_piece_of_the_least_area_counts_and_one_pixel_less_does_not() -> None:
    mask = np.zeros((12, 30), np.bool_)
    mask[1:5, 1:6] = True
    mask[1:5, 10:15] = True
    assert count_components(mask, AREA_20_PX) == 2
    mask[1, 10] = False
    assert count_components(mask, AREA_20_PX) == 1
    assert count_components(mask, (10.0, 11.0)) == 2


def test_the_floor_is_met_whatever_a_pixel_rounds_to() -> None:
    pixel_nm = (2000 / 17 / 0.3, 0.3)
    assert 17 * (pixel_nm[0] * pixel_nm[1]) < 2000.0
    assert count_components(np.ones((1, 17), np.bool_), pixel_nm) == 1


def test_pixels_that_touch_at_a_corner_are_one_piece() -> None:
    mask = np.eye(5, dtype=np.bool_)
    assert count_components(mask, EVERY_PIXEL) == 1
    mask[2, 2] = False
    assert count_components(mask, EVERY_PIXEL) == 2


def test_nothing_has_no_piece() -> None:
    assert count_components(np.zeros((4, 4), np.bool_), EVERY_PIXEL) == 0


@given(arrays(np.bool_, (9, 9)), st.sampled_from([EVERY_PIXEL, (25.0, 20.0), (25.0, 10.0)]))
def test_a_flood_fill_counts_the_same(mask: NDArray[np.bool_], pixel_nm: tuple[float, float]) -> None:
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    areas = []
    while left:
        front, area = [left.pop()], 0
        while front:
            y, x = front.pop()
            area += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        areas.append(area * pixel_nm[0] * pixel_nm[1])
    assert count_components(mask, pixel_nm) == sum(area >= 2000.0 for area in areas)


@pytest.mark.parametrize(
    ("components", "error"),
    [([[3, 5], [4, 4], [2, 1]], 1.0), ([[0, 0], [0, 0]], 0.0), ([[0, 3]], 3.0), ([[3, 0]], 3.0)],
)
def test_the_error_is_the_mean_of_what_slices_differ_by(components: list[list[int]], error: float) -> None:
    assert betti0_error(np.array(components, np.int64)) == error
