"""Which slices are shown, and which window of them."""

from collections.abc import Callable

import numpy as np

from dmn_runtime.metrics import IGNORED
from dmn_train.study.slice_pictures import counted_part, worst_window
from dmn_train.study.slices import choose
from dmn_train.study.test_volume import TestVolume


def test_best_median_and_worst_are_by_iou_of_slices_that_have_foreground(
    volume: Callable[..., TestVolume],
) -> None:
    test = volume()
    per_slice = np.array([[hits, 0, 100 - hits, 0] for hits in (50, 90, 10, 40, 70, 60)])
    assert choose(per_slice, test) == (1, 5, 2)
    test.classes[1] = 0
    test.classes[2] = 0
    assert choose(per_slice, test) == (4, 5, 3)
    part = volume(slices=(3, 5))
    assert choose(per_slice[3:5], part) == (4, 4, 3)


def test_the_part_that_counts_is_shown_and_of_a_large_one_the_worst_window() -> None:
    classes = np.full((600, 700), IGNORED, np.uint8)
    classes[:, 100:650] = 0
    classes[300:, 150:400] = IGNORED
    part = counted_part(classes)
    assert part == np.s_[0:600, 100:650]
    found = np.zeros(classes.shape, np.bool_)
    found[590:, 640:] = True
    found[500:, 160:260] = True  # does not count
    assert worst_window(found, classes, part) == np.s_[344:600, 394:650]
    assert worst_window(found, classes, np.s_[100:612, 100:612]) is None
