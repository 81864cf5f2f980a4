"""Stages are pure functions of the share done, and of which parts there are."""

import json
from typing import Any

import pytest

from dmn_train.methods.dismemnet_parts.stages import generator_learns, learning_progress, moment_at, stage_of
from dmn_train.sections import DismemnetSection

GATED = {"kind": "gated", "every": 4, "until": 0.75}


def section(**keys: Any) -> DismemnetSection:
    options = {"stages": {"translation": 0.25, "bank": 0.125}, "translation": GATED, **keys}
    return DismemnetSection.model_validate_json(json.dumps(options))


@pytest.mark.parametrize(
    ("keys", "stages"),
    [
        ({}, "t t b j j"),
        ({"translation": {"kind": "histogram"}}, "b j j j j"),
        ({"translation": {"kind": "none"}}, "b j j j j"),
        ({"memory": {"kind": "none"}}, "t t j j j"),
        ({"memory": {"kind": "batch"}}, "t t b j j"),
        ({"translation": {"kind": "none"}, "memory": {"kind": "none"}}, "j j j j j"),
    ],
)
def test_each_part_has_its_stage_and_one_that_is_off_has_none(keys: dict[str, Any], stages: str) -> None:
    found = [stage_of(progress, section(**keys)) for progress in (0.0, 0.2499, 0.25, 0.375, 1.0)]
    assert " ".join(stage[0] for stage in found) == stages


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.25, 0.0), (0.625, 0.5), (1.0, 1.0)])
def test_a_student_that_waits_begins_at_nothing(progress: float, share: float) -> None:
    stages = {"translation": 0.25, "bank": 0.125, "student_waits": True}
    assert learning_progress(progress, section(stages=stages)) == pytest.approx(share)
    assert learning_progress(progress, section()) == progress
    without = section(stages=stages, translation={"kind": "none"})
    assert learning_progress(progress, without) == progress
    moment = moment_at(progress, section(stages=stages))
    assert (moment.progress, moment.share) == (progress, pytest.approx(share))


def test_the_generator_learns_always_then_at_times_then_never() -> None:
    steps = [step for step in range(40) if generator_learns(step, step / 40, section())]
    assert steps == [*range(10), 12, 16, 20, 24, 28]
    histogram = section(translation={"kind": "histogram"})
    assert not any(generator_learns(step, step / 40, histogram) for step in range(40))
