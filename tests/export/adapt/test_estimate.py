"""The estimate: sums by hand, words, and a clock that is given."""

from itertools import count

import pytest

from dmn_export.adapt.estimate import (
    EXPORT_LEAST_S,
    EXPORT_TILES,
    Expected,
    duration,
    estimate_words,
    expect_export,
    expect_quality,
    expect_training,
)
from dmn_export.adapt.timing import StagePace, forward_s
from dmn_train.networks.sizes import NetworkSpec


@pytest.mark.parametrize(
    ("done", "left", "looks"), [(0, 100, 4), (24, 76, 4), (25, 75, 3), (99, 1, 1), (100, 0, 0)]
)
def test_what_is_left_is_steps_and_looks(done: int, left: int, looks: int) -> None:
    found = expect_training(
        "adapt", StagePace(0.5, 10.0), steps=100, done=done, validate_every=25, before_s=3.0, after_s=4.0
    )
    assert found == Expected("adapt", left, 0.5 * left + 10.0 * looks + 7.0)


def test_the_last_step_is_looked_at_too() -> None:
    found = expect_training(
        "base", StagePace(1.0, 10.0), steps=10, done=0, validate_every=500, before_s=0.0, after_s=0.0
    )
    assert found.seconds == 20.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "5 s"),
        (31, "35 s"),
        (89, "90 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (7300, "2.5 h"),
    ],
)
def test_a_duration_is_rounded_up(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_estimate_is_one_sentence() -> None:
    expected = [Expected("base", 500, 300.0), Expected("adapt", 200, 120.0), expect_export(0.1, 2.0)]
    assert expected[2].seconds == EXPORT_LEAST_S + EXPORT_TILES * 0.1 + 2.0
    total = duration(420.0 + expected[2].seconds)
    assert estimate_words(expected) == (
        f"this will take about {total} on this machine: base 5 min (500 steps), adapt 2 min (200 steps), "
        f"export {duration(expected[2].seconds)}"
    )


def test_quality_is_twelve_tiles_and_eight_views_of_each() -> None:
    assert expect_quality(1.0, 0.5, 2.0) == Expected("quality", 0, 12 * 8.5 + 2.0)


def test_a_forward_pass_is_timed_by_the_clock_that_is_given() -> None:
    ticks = count(0, 7)
    assert forward_s(NetworkSpec(2, 2, 0), lambda: float(next(ticks))) == 7.0
