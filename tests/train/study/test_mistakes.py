"""Objects and areas that a slice gets wrong, on drawings whose mistakes are counted by eye."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dmn_runtime.metrics import IGNORED
from dmn_train.study.mistakes import Mistakes, mistakes

PIXEL_NM = (10.0, 20.0)  # 200 nm2, so that ten pixels are an object


def drawn(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return a slice of 40 x 60 px with boxes: top, bottom, left, right."""
    mask = np.zeros((40, 60), np.bool_)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def judged(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> Mistakes:
    return mistakes(found, true.astype(np.uint8), PIXEL_NM)


def objects(found: Mistakes) -> tuple[int, int, int, int]:
    return len(found.missed), len(found.invented), found.merged, found.split


def test_a_right_slice_has_no_mistakes() -> None:
    mask = drawn((0, 10, 0, 10), (20, 30, 30, 50))
    found = judged(mask, mask)
    assert (objects(found), found.objects) == ((0, 0, 0, 0), 2)
    assert (found.false_positive_um2, found.false_negative_um2) == (0.0, 0.0)
    assert found.true_um2 == pytest.approx(300 * 200e-6)


def test_areas_are_those_of_wrong_pixels() -> None:
    found = judged(drawn((0, 10, 5, 20)), drawn((0, 10, 0, 10)))
    assert found.counts.tolist() == [50, 100, 50, 2200]
    assert found.false_positive_um2 == pytest.approx(0.02)
    assert found.false_negative_um2 == pytest.approx(0.01)
    assert objects(found) == (0, 0, 0, 0)


def test_an_object_is_missed_or_invented_below_a_quarter_of_its_area() -> None:
    true = drawn((0, 10, 0, 10), (20, 30, 0, 10))
    quarter = judged(drawn((0, 10, 0, 10), (20, 25, 5, 10)), true)
    assert objects(quarter) == (0, 0, 0, 0)
    less = judged(drawn((0, 10, 0, 10), (20, 24, 4, 10)), true)
    assert (objects(less), less.missed) == ((1, 0, 0, 0), ((24.5, 4.5),))
    apart = judged(drawn((0, 10, 0, 10), (20, 30, 0, 10), (30, 40, 40, 50)), true)
    assert (objects(apart), apart.invented) == ((0, 1, 0, 0), ((34.5, 44.5),))


def test_merged_are_predictions_over_several_and_split_are_objects_under_several() -> None:
    apart, joined = drawn((0, 10, 0, 10), (0, 10, 20, 30)), drawn((0, 10, 0, 30))
    assert objects(judged(joined, apart)) == (0, 0, 1, 0)
    assert objects(judged(apart, joined)) == (0, 0, 0, 1)
    brushed = drawn((0, 10, 0, 22))  # a fifth of the second
    assert objects(judged(brushed, apart)) == (1, 0, 0, 0)
    crumbs = drawn((0, 3, 0, 4), (6, 9, 0, 4))
    assert objects(judged(crumbs, joined)) == (1, 0, 0, 1)


def test_touching_corners_make_one_object_and_specks_make_none() -> None:
    true = drawn((0, 10, 0, 10), (10, 20, 10, 20))
    assert judged(true, true).objects == 1
    specks = judged(drawn((30, 33, 30, 33)), drawn((5, 8, 5, 8)))
    assert (objects(specks), specks.objects) == ((0, 0, 0, 0), 0)
    assert specks.counts.tolist() == [0, 9, 9, 2382]


def test_pixels_that_do_not_count_belong_to_nothing() -> None:
    classes = drawn((0, 10, 0, 10)).astype(np.uint8)
    classes[20:] = IGNORED
    found = mistakes(drawn((0, 10, 0, 10), (18, 40, 0, 60)), classes, PIXEL_NM)
    assert found.counts.tolist() == [100, 120, 0, 980]
    assert found.invented == ((18.5, 29.5),)
