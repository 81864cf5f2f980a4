"""Picked slices: how many, which ones, and how they stand for the volume."""

from collections import Counter
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_train.labelled_slices import pick_slices

FOREGROUND = st.lists(st.integers(0, 10**6), min_size=1, max_size=80)
FRACTIONS = st.floats(0.0, 1.0, exclude_min=True)
HOW: st.SearchStrategy[Literal["random", "balanced"]] = st.sampled_from(["random", "balanced"])
SEEDS = st.integers(0, 2**32 - 1)


@given(FOREGROUND, FRACTIONS, HOW, SEEDS)
def test_a_fraction_of_the_slices_is_picked_once_each(
    foreground: list[int], fraction: float, how: Literal["random", "balanced"], seed: int
) -> None:
    picked = pick_slices(foreground, fraction, how, seed)
    assert len(picked) == max(1, round(fraction * len(foreground)))
    assert list(picked) == sorted(set(picked))
    assert set(picked) <= set(range(len(foreground)))
    assert picked == pick_slices(foreground, fraction, how, seed)


@given(FOREGROUND, HOW, SEEDS)
def test_the_whole_is_all(foreground: list[int], how: Literal["random", "balanced"], seed: int) -> None:
    assert pick_slices(foreground, 1.0, how, seed) == tuple(range(len(foreground)))


@given(FOREGROUND, FRACTIONS, FRACTIONS, SEEDS)
def test_random_fractions_are_nested(foreground: list[int], one: float, other: float, seed: int) -> None:
    less, more = (set(pick_slices(foreground, f, "random", seed)) for f in sorted((one, other)))
    assert less <= more


@given(FOREGROUND, FRACTIONS, SEEDS)
def test_balanced_slices_have_the_foreground_of_the_volume(
    foreground: list[int], fraction: float, seed: int
) -> None:
    picked = pick_slices(foreground, fraction, "balanced", seed)
    mean = sum(foreground[i] for i in picked) / len(picked)
    bound = (max(foreground) - min(foreground)) / len(picked)
    assert abs(mean - sum(foreground) / len(foreground)) <= bound + 1e-6


@given(st.permutations(range(40)), SEEDS)
def test_balanced_takes_one_of_each_tenth(foreground: list[int], seed: int) -> None:
    picked = pick_slices(foreground, 0.25, "balanced", seed)
    assert sorted(foreground[i] // 4 for i in picked) == list(range(10))


@pytest.mark.parametrize("how", ["random", "balanced"])
def test_seeds_differ_and_leave_no_slice_out(how: Literal["random", "balanced"]) -> None:
    counts = Counter(i for seed in range(700) for i in pick_slices(range(7), 0.4, how, seed))
    assert all(240 <= counts[i] <= 360 for i in range(7))  # 300 wanted, sd 13.1
