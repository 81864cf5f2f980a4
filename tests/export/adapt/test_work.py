"""The work folder: what may be written into, what is gone on with, what is refused in one sentence."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmn_export.adapt.plan import plan_stages
from dmn_export.adapt.volumes import look_at
from dmn_export.adapt.wishes import AdaptWishes
from dmn_export.adapt.work import FRESH, StageState, begin_work, check_work, record_of, states
from dmn_runtime.errors import DmnError, OutputError, RunError
from dmn_train.loop import Progress, train

RECORD: dict[str, Any] = {"-o": "mito.zip", "--budget": "quick", "--seed": 0, "--student": None}
DATA = {"source": "a1", "mask": "b2", "target": "c3"}


def begun(folder: Path) -> Path:
    begin_work(folder, RECORD, DATA, resume=False)
    return folder


def test_a_new_folder_is_begun_and_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "mito.adapt"
    check_work(folder, RECORD, DATA, resume=False, overwrite=False)
    assert not folder.exists()
    check_work(begun(folder), RECORD, DATA, resume=True, overwrite=False)
    stored = json.loads((folder / "adapt.json").read_text())
    assert stored == {"format": "dmn-adapt", "format_version": 4, "wishes": RECORD, "data": DATA}
    check_work(folder, RECORD, DATA, resume=False, overwrite=True)


@pytest.mark.parametrize(
    ("made", "keys", "kind", "sentence"),
    [
        (
            "nothing",
            {"resume": True},
            RunError,
            "holds no adaptation to go on with: start it without --resume",
        ),
        ("file", {}, OutputError, "is a file, wanted a folder for the runs: choose another --work"),
        ("other", {}, OutputError, "holds something that is no adaptation, so it is kept"),
        ("other", {"overwrite": True}, OutputError, "holds something that is no adaptation, so it is kept"),
        ("begun", {}, OutputError, "holds a former adaptation: give --resume to go on with it"),
        ("damaged", {"resume": True}, RunError, "is damaged"),
        (
            "newer",
            {"resume": True},
            RunError,
            "is dmn-adapt version 5, wanted dmn-adapt version 4: begin anew with --overwrite",
        ),
        (
            "quick",
            {"resume": True},
            RunError,
            'was begun with --budget "thorough" and is now to go on with "quick": resume with the same',
        ),
    ],
)
def test_what_must_not_be_written_into_is_kept(
    tmp_path: Path, made: str, keys: dict[str, bool], kind: type[DmnError], sentence: str
) -> None:
    folder = tmp_path / "work"
    stored = {
        "format": "dmn-adapt",
        "format_version": 4,
        "wishes": {**RECORD, "--budget": "thorough"},
        "data": DATA,
    }
    if made == "file":
        folder.write_bytes(b"")
    elif made != "nothing":
        folder.mkdir()
        text = {
            "other": None,
            "damaged": "{",
            "newer": json.dumps({**stored, "format_version": 5}),
        }.get(made, json.dumps(stored))
        (folder / ("notes.txt" if text is None else "adapt.json")).write_text(text or "mine")
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    with pytest.raises(kind) as caught:
        check_work(folder, RECORD, DATA, **{"resume": False, "overwrite": False, **keys})
    assert sentence in str(caught.value)
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before


def test_a_package_of_another_name_is_not_gone_on_with(wishes: AdaptWishes, tmp_path: Path) -> None:
    """Its name is that of the runs; where it lies is not."""
    volumes = look_at(wishes)
    before, moved, other = (
        record_of(wishes, volumes, tmp_path / place) for place in ("mito.zip", "there/mito.zip", "other.zip")
    )
    folder = tmp_path / "work"
    begin_work(folder, before, volumes.fingerprints, resume=False)
    check_work(folder, moved, volumes.fingerprints, resume=True, overwrite=False)
    with pytest.raises(RunError, match=r'was begun with -o "mito.zip" and is now to go on with "other.zip"'):
        check_work(folder, other, volumes.fingerprints, resume=True, overwrite=False)


def test_folders_above_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "no" / "such" / "work"
    check_work(folder, RECORD, DATA, resume=False, overwrite=False)
    assert list(tmp_path.iterdir()) == []
    check_work(begun(folder), RECORD, DATA, resume=True, overwrite=False)


def test_a_place_that_cannot_be_written_into_is_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        OutputError, match=r"file is a file, wanted a folder for the runs: choose another --work"
    ):
        check_work(tmp_path / "file" / "work", RECORD, DATA, resume=False, overwrite=False)
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(OutputError, match="is not yours to write into: choose another --work"):
        check_work(tmp_path / "new" / "work", RECORD, DATA, resume=False, overwrite=False)


def test_a_place_that_must_not_be_looked_at_or_is_nowhere_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, exists = tmp_path / "closed", Path.exists

    def guarded(place: Path) -> bool:
        if closed in place.parents:
            raise PermissionError(13, "Permission denied")
        return exists(place)

    closed.mkdir()
    monkeypatch.setattr(Path, "exists", guarded)
    monkeypatch.setattr(os, "access", lambda place, _: place != closed)
    with pytest.raises(OutputError, match="closed is not yours to write into: choose another --work"):
        check_work(closed / "new" / "work", RECORD, DATA, resume=False, overwrite=False)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(OutputError, match=r"work lies nowhere, .* is not there: choose another --work"):
        check_work(tmp_path / "work", RECORD, DATA, resume=False, overwrite=False)


@pytest.mark.parametrize("role", DATA)
def test_other_data_under_the_same_name_is_not_gone_on_with(tmp_path: Path, role: str) -> None:
    folder = begun(tmp_path / "work")
    with pytest.raises(RunError, match=f"the {role} is not the one that .* was begun with"):
        check_work(folder, RECORD, {**DATA, role: "new"}, resume=True, overwrite=False)


def test_the_run_to_begin_from_is_not_dropped(tmp_path: Path) -> None:
    work = begun(tmp_path / "mito.adapt")
    inside, beside = ({**RECORD, "--init": str(folder / "base")} for folder in (work, tmp_path))
    with pytest.raises(OutputError, match="so that is kept: choose another --work"):
        check_work(work, inside, DATA, resume=False, overwrite=True)
    check_work(work, beside, DATA, resume=False, overwrite=True)


def test_to_begin_anew_drops_former_runs_and_nothing_else(tmp_path: Path) -> None:
    folder = begun(tmp_path / "work")
    for name, file in (("base", "run.json"), ("adapt", "started.json"), ("distil", "notes.txt")):
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
    begin_work(folder, RECORD, DATA, resume=True)
    assert (folder / "base" / "run.json").exists()
    begun(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["adapt.json", "distil"]


@pytest.mark.usefixtures("small")
def test_stages_are_recognised_by_their_runs(wishes: AdaptWishes, tmp_path: Path) -> None:
    short = replace(wishes, overrides=(*wishes.overrides, "loop.steps=4", "loop.checkpoint_every=2"))
    volumes = look_at(short)
    plan = plan_stages(short, volumes, "mito", tmp_path / "work")
    record = record_of(short, volumes, tmp_path / "mito.zip")
    begin_work(tmp_path / "work", record, volumes.fingerprints, resume=False)
    assert states(plan, resume=True) == [FRESH, FRESH]
    base, adapted = plan.stages

    def die(told: Progress) -> None:
        if told.done == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(base.placed, base.folder, tell=die)
    assert states(plan, resume=True)[0] == StageState(begun=True, done=2, finished=False)
    train(base.placed, base.folder, resume=True)
    train(adapted.placed, adapted.folder)
    done = StageState(begun=True, done=4, finished=True)
    assert states(plan, resume=True) == [done, done]
    assert states(plan, resume=False) == [FRESH, FRESH]

    other = plan_stages(replace(short, seed=9), volumes, "mito", tmp_path / "work")
    with pytest.raises(RunError, match="holds a run of another recipe"):
        states(other, resume=True)
    facts = json.loads((base.folder / "run.json").read_text())
    (base.folder / "run.json").write_text(json.dumps({**facts, "weights_sha256": "0" * 64}))
    with pytest.raises(RunError, match="was trained from other weights than"):
        states(plan, resume=True)
