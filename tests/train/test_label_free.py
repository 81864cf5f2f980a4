"""Solidity and entropy of predictions, against literal and closed forms."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError
from dmn_train import label_free
from dmn_train.label_free import mean_entropy, mean_solidity, solidity_of_labels


def picture(*rows: str) -> NDArray[np.bool_]:
    return np.array([[mark == "#" for mark in row] for row in rows])


SQUARE = picture("......", ".####.", ".####.", ".####.", ".####.", "......")
RING = picture("......", ".####.", ".#..#.", ".#..#.", ".####.", "......")
# The hull of the L spans its two arms: of 5 x 5 px those with row >= column, 15, are inside; the L has 9.
L_SHAPE = picture("#.....", "#.....", "#.....", "#.....", "#####.", "......")
EMPTY = np.zeros((6, 6), bool)


def test_a_convex_object_is_solid() -> None:
    assert mean_solidity([SQUARE], 1) == 1.0


def test_holes_and_bays_lower_solidity() -> None:
    assert mean_solidity([RING], 1) == 12 / 16
    assert mean_solidity([L_SHAPE], 1) == pytest.approx(9 / 15)


def test_lines_and_lone_pixels_have_a_hull() -> None:
    assert mean_solidity([picture("......", ".####.", "......")], 1) == 1.0
    assert mean_solidity([picture("...", ".#.", "...")], 1) == 1.0


def test_the_mean_is_over_objects_of_all_slices() -> None:
    assert mean_solidity(np.stack([SQUARE, EMPTY, RING]), 1) == pytest.approx((1 + 0.75) / 2)
    assert mean_solidity([np.hstack([RING, SQUARE, SQUARE]), EMPTY], 1) == pytest.approx((2 + 0.75) / 3)


def test_corners_join_objects() -> None:
    # As two objects both would be solid; as one its hull is larger.
    apart = picture("##..", "##..", "..##", "..##")
    solidity = mean_solidity([apart], 1)
    assert solidity is not None
    assert solidity < 1


def test_small_objects_do_not_count() -> None:
    assert mean_solidity([np.hstack([RING, SQUARE])], 12) == pytest.approx((1 + 0.75) / 2)
    assert mean_solidity([np.hstack([RING, SQUARE])], 13) == 1.0
    assert mean_solidity([RING], 13) is None


def test_no_object_has_no_solidity() -> None:
    assert mean_solidity([EMPTY], 1) is None


def test_labels_without_objects_cannot_be_compared_with() -> None:
    assert solidity_of_labels([RING], 12, "a.tif") == 0.75
    with pytest.raises(RecipeError, match=r"labels of a\.tif hold no object of 13 px or more"):
        solidity_of_labels([RING], 13, "a.tif")


def test_entropy_of_certain_predictions_is_0() -> None:
    assert mean_entropy([SQUARE.astype(np.float32)]) == 0.0


def test_finding_nothing_or_everything_is_no_certainty() -> None:
    for value in (0.0, 1.0, 0.001, 0.999, 0.5):
        assert mean_entropy([np.full((4, 4), value, np.float32)]) == pytest.approx(1.0)


def test_entropy_in_closed_form() -> None:
    # h(1/4) = 2 - 3/4 log2 3, for both kinds of pixel; their mean is 1/2 and h(1/2) = 1.
    half = np.array([[0.25, 0.75]], np.float32)
    assert mean_entropy([half]) == pytest.approx(2 - 0.75 * np.log2(3))
    # One pixel in two is certain background, the other is undecided: 1/2 bit left, h(1/4) to begin with.
    assert mean_entropy([np.array([[0.0, 0.5]], np.float32)]) == pytest.approx(0.5 / (2 - 0.75 * np.log2(3)))


def test_entropy_pools_the_slices() -> None:
    one, two = np.zeros((2, 3), np.float32), np.ones((4, 5), np.float32)
    assert mean_entropy([one, two]) == 0.0
    assert mean_entropy(np.stack([one, one])) == 1.0


def test_faint_objects_are_less_certain_than_clear_ones() -> None:
    faint, clear = (np.where(SQUARE, high, 0.01).astype(np.float32) for high in (0.1, 0.99))
    assert mean_entropy([faint]) > 0.5 > mean_entropy([clear])


def test_a_network_that_broke_down_shows() -> None:
    assert np.isnan(mean_entropy([np.array([[0.5, np.nan]], np.float32)]))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_entropy_is_a_share(values: list[float]) -> None:
    assert 0.0 <= mean_entropy([np.array([values], np.float32)]) <= 1.0 + 1e-9


def test_measuring_the_target_takes_predictions_alone() -> None:
    assert list(inspect.signature(label_free.mean_solidity).parameters) == ["slices", "least_px"]
    assert list(inspect.signature(label_free.mean_entropy).parameters) == ["slices"]
