"""The threshold of a run against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_train.threshold import HIGHEST, bound_alarm, bounded_threshold


def slices(*rows: list[float]) -> list[NDArray[np.float32]]:
    return [np.array([row], np.float32) for row in rows]


def test_a_share_below_the_bound_leaves_one_half() -> None:
    assert bounded_threshold(slices([0.9, 0.4], [0.1, 0.2]), 0.25) == 0.5


def test_the_surest_stay_and_slices_are_judged_together() -> None:
    """Of eight pixels a quarter may be foreground: 0.9 and 0.8, so that 0.7 is the surest that may not."""
    found = bounded_threshold(slices([0.9, 0.8, 0.7, 0.6], [0.55, 0.1, 0.1, 0.1]), 0.25)
    assert found == pytest.approx(0.7, abs=1e-6)
    assert np.float32(0.7) < np.float32(found)


def test_it_ends_where_eight_bits_end() -> None:
    assert bounded_threshold(slices([1.0, 1.0, 1.0]), 0.1) == HIGHEST


def test_a_bound_that_no_threshold_keeps_is_told() -> None:
    assert bound_alarm(slices([1.0, 0.2]), HIGHEST, 0.5) is None
    told = bound_alarm(slices([1.0, 1.0, 0.2, 0.2]), HIGHEST, 0.1)
    assert told is not None
    assert told.startswith("50.0% of the target is foreground at threshold 0.99, the highest there is,")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 980), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_it_is_the_least_that_keeps_the_bound(values: list[int], most: float) -> None:
    every = np.array([values], np.float32) / np.float32(1000)
    found = bounded_threshold([every], most)
    assert (every >= found).mean() <= most
    if found > 0.5:
        assert (every >= np.nextafter(np.float32(found), np.float32(0.0))).mean() > most
