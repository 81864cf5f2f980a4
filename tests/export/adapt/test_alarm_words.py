"""A training's alarms, told again without its own words."""

import numpy as np
import pytest

from dmn_export.adapt.alarm_words import OTHER, alarm_words
from dmn_train.alarms import bounded_alarm, confidence_alarm, foreground_alarm
from dmn_train.memory.alarms import collapse_alarm
from dmn_train.threshold import bound_alarm

OWN_WORDS = ("pseudo", "init.run", "teacher", "method")


@pytest.mark.parametrize(
    ("alarm", "told"),
    [
        (foreground_alarm(0.001, 0.1), "less than 0.2 times the source's share of foreground"),
        (foreground_alarm(0.9, 0.1), "more than 5 times the source's share of foreground"),
        (bounded_alarm(0.9, 0.1, 0.15), "more than 5 times the source's share of foreground was found"),
        (confidence_alarm(0.001), "hardly a pixel of the target (below 1%) was certain"),
    ],
)
def test_every_alarm_of_these_methods_has_words(alarm: str | None, told: str) -> None:
    assert alarm is not None
    words = alarm_words(alarm)
    assert words.startswith(f"while it learned, {told}")
    assert not any(own in words for own in OWN_WORDS)


def test_a_bound_that_no_threshold_keeps_has_words() -> None:
    alarm = bound_alarm([np.ones((4, 4), np.float32)], 0.99, 0.08)
    assert alarm is not None
    words = alarm_words(alarm)
    assert words.startswith("it is so sure of more of the target than --most-foreground lets be foreground")
    assert not any(own in words for own in OWN_WORDS)


def test_a_collapsed_memory_has_words() -> None:
    alarm = collapse_alarm(0.99)
    assert alarm is not None
    words = alarm_words(alarm)
    assert words.startswith("its memory of what objects look like came to tell nothing apart")
    assert not any(own in words for own in OWN_WORDS)


def test_of_an_unknown_alarm_is_told_that_there_is_one() -> None:
    assert alarm_words("the moon is full") == OTHER
