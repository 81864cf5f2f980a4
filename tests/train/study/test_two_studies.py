"""Two studies in one folder, where the second has runs of the first."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_runtime.errors import RunError
from dmn_train.loop import train
from dmn_train.run import STARTED_JSON
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
from dmn_train.study.state import State, states_of

from .conftest import OTHER_SOURCE, STUDENT, STUDY

Load = Callable[..., PlacedStudy]
FIRST = (("seeds = [0, 1]", "seeds = [0]"), ('init = "strong"', 'init = "strong"\nprotocols = ["A"]'))
SECOND = (
    *FIRST,
    ('name = "tiny"', 'name = "again"'),
    ('teacher = "other"', 'teacher = "other"\nprotocols = ["A"]'),
)
SHARED = ("shared/strong/seed0", "A/other/seed0")


def carry_out(job: Job) -> None:
    assert job.placed is not None
    train(job.placed, job.folder)


def contents(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in job.folder.iterdir() if path.is_file()}


def test_the_second_takes_finished_runs_of_the_first_as_they_are(
    study: Load, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    first = plan_study(study(*FIRST, text=STUDY), out)
    assert tuple(job.id for job in first) == SHARED
    for job in first:
        carry_out(job)
    before = {job.id: contents(job) for job in first}

    placed = study(*SECOND, text=STUDY + OTHER_SOURCE + STUDENT)
    second = plan_study(placed, out)
    states = states_of(second)
    assert states == {
        **dict.fromkeys(SHARED, State.FINISHED),
        **dict.fromkeys(("vnc/strong/seed0", "A/student/seed0"), State.ABSENT),
    }
    for job in second:
        if states[job.id] is State.ABSENT:
            carry_out(job)
    assert main(["study", str(placed.path), "-o", str(out)]) == 0
    assert "A/other/seed0: done, was finished" in capsys.readouterr().err
    for job in first:
        assert {name: found for name, found in contents(job).items() if name in before[job.id]} == before[
            job.id
        ]
    with (out / "again.csv").open() as stream:
        rows = [(row["protocol"], row["arm"], row["run"]) for row in csv.DictReader(stream)]
    assert sorted(rows) == [
        ("A", "other", "A/other/seed0"),
        ("A", "strong", "shared/strong/seed0"),
        ("A", "student", "A/student/seed0"),
        ("B", "strong", "shared/strong/seed0"),
        ("back", "strong", "vnc/strong/seed0"),
    ]


def test_the_second_leaves_unfinished_runs_to_the_first(study: Load, folder: Path) -> None:
    first = plan_study(study(*FIRST, text=STUDY), folder / "out")[0]
    assert first.placed is not None
    first.folder.mkdir(parents=True)
    started = {"recipe": first.placed.recipe.as_json(), "data": []}
    (first.folder / STARTED_JSON).write_text(json.dumps(started))
    placed = study(*SECOND, text=STUDY + STUDENT)
    with pytest.raises(RunError, match='whose name was "tiny-shared-strong-seed0" and is "again-shared-'):
        states_of(plan_study(placed, folder / "out"))
