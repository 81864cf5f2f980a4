"""Which slices the preview shows, from counts collected block by block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region
from dmn_runtime.slice_statistics import SliceStatistics, choose_slices


def counted(foreground, uncertain=None, seen=100) -> SliceStatistics:
    statistics = SliceStatistics((len(foreground), 10, 10))
    statistics.seen[:] = seen
    statistics.foreground[:] = foreground
    statistics.uncertain[:] = uncertain or [0] * len(foreground)
    return statistics


def test_counts_are_added_block_by_block():
    statistics = SliceStatistics((2, 2, 4))
    probability = np.array([[[50, 51], [204, 205]], [[255, 128], [0, 0]]], np.uint8)
    statistics.add(Region((0, 0, 0), (2, 2, 2)), probability, (probability >= 128).view(np.uint8))
    statistics.add(
        Region((1, 0, 2), (2, 2, 4)), np.full((1, 2, 2), 100, np.uint8), np.zeros((1, 2, 2), np.uint8)
    )
    assert statistics.seen.tolist() == [4, 8]
    assert statistics.foreground.tolist() == [2, 2]
    assert statistics.uncertain.tolist() == [2, 5]
    assert statistics.foreground_shares().tolist() == [0.5, 0.25]
    assert statistics.uncertain_shares().tolist() == [0.5, 0.625]
    assert statistics.foreground_share == pytest.approx(4 / 12)


def test_nothing_counted_is_a_share_of_nothing():
    statistics = SliceStatistics((3, 5, 5))
    assert statistics.foreground_share == 0.0
    assert choose_slices(statistics) == (0, 1, 2)


def test_most_foreground_most_uncertain_and_median():
    # Most foreground: 4. Most uncertain: 0. Median of 2, 5, 9, 20, 50 is 9: slice 3.
    assert choose_slices(counted([2, 5, 20, 9, 50, 0], [7, 1, 1, 1, 6, 1])) == (0, 3, 4)


def test_a_slice_that_wins_twice_is_taken_once():
    # Slice 1 wins both; the second most uncertain is 3; the median of 10, 20, 30 is slice 2's.
    assert choose_slices(counted([10, 30, 20, 0], [0, 9, 0, 8])) == (1, 2, 3)


def test_shares_count_not_numbers():
    # Slice 0: 4 of 10 seen; slice 1: 5 of 100.
    assert choose_slices(counted([4, 5], seen=np.array([10, 100])), 1) == (0,)


def test_ties_go_to_the_middle_then_to_the_lower():
    assert choose_slices(counted([0] * 7)) == (2, 3, 4)
    assert choose_slices(counted([0] * 4), 1) == (1,)


def test_one_slice():
    assert choose_slices(counted([0])) == (0,)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(0, 15))
def test_never_the_same_twice_and_as_many_as_wanted(foreground, count):
    chosen = choose_slices(counted(foreground), count)
    assert len(chosen) == len(set(chosen)) == min(count, len(foreground))
    assert list(chosen) == sorted(chosen)
