"""The work folder of an adaptation: what was wished for, and how far each stage has come.

adapt.json    format "dmn-adapt", version 4: the wishes that its runs belong to and the fingerprints of their
              data; written before the first step
base, adapt, distil   run folders (docs/training.md)
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from dmn_export.adapt.bound import NO_BOUND
from dmn_export.adapt.plan import Plan, Stage
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import OutputError, RunError
from dmn_train.files import translate_write_errors, write_json
from dmn_train.lineage import named_starts
from dmn_train.run import CHECKPOINT, RUN_JSON, STARTED_JSON, load_run

ADAPT_JSON = "adapt.json"
FORMAT = "dmn-adapt"
FORMAT_VERSION = 4
STAGE_FOLDERS = ("base", "adapt", "distil")


@dataclass(frozen=True)
class StageState:
    """How far a stage is: whether its folder holds a run of it, steps done, and whether that was all."""

    begun: bool
    done: int
    finished: bool


FRESH = StageState(begun=False, done=0, finished=False)


def record_of(wishes: AdaptWishes, volumes: Volumes, output: Path) -> dict[str, Any]:
    """Return what the work folder keeps of the wishes, by the names of the options.

    Args:
        wishes: of the user.
        volumes: looked at.
        output: the package; its runs are named after it, wherever it lies.
    """
    return {
        "-o": output.name,
        "--source": {
            "image": volumes.source.image,
            "mask": volumes.source.mask,
            "valid": volumes.source.valid,
        },
        "--target": volumes.target,
        "--source-voxel-nm": list(volumes.source_nm),
        "--target-voxel-nm": list(volumes.target_nm),
        "--student": wishes.student,
        "--budget": wishes.budget,
        "--init": None if wishes.init is None else str(wishes.init.resolve()),
        "--seed": wishes.seed,
        "--set": list(wishes.overrides),
        "--class": wishes.class_name,
        "--phantoms": wishes.phantoms,
        "--target-slices": None if wishes.target_slices is None else list(wishes.target_slices),
        "--most-foreground": NO_BOUND if wishes.most_foreground is None else wishes.most_foreground,
    }


def check_work(
    folder: Path, record: dict[str, Any], fingerprints: dict[str, str], *, resume: bool, overwrite: bool
) -> None:
    """Refuse a folder that must not be written into; change nothing.

    Args:
        folder: of the runs.
        record: `record_of` the wishes.
        fingerprints: of the volumes, by role.
        resume: go on with what is there.
        overwrite: begin anew.

    Raises:
        OutputError: it is a file, or lies in one, or must not be written into; it holds something, and
            neither `resume` nor `overwrite` is given, or what it holds is no adaptation, or the run to begin
            from.
        RunError: it is to be resumed, but holds no adaptation, or one with other wishes or of other data.
    """
    there = _nearest(folder)
    if there is None:
        raise OutputError(
            f"{folder} lies nowhere, {folder.absolute().anchor} is not there: choose another --work"
        )
    if not there.is_dir():
        raise OutputError(f"{there} is a file, wanted a folder for the runs: choose another --work")
    if not resume and not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{there} is not yours to write into: choose another --work, or have it opened")
    holds = folder.is_dir() and any(folder.iterdir())
    mine = is_begun(folder)
    if resume:
        if not mine:
            raise RunError(f"{folder} holds no adaptation to go on with: start it without --resume")
        _check_same(folder, record, fingerprints)
    elif holds and not mine:
        raise OutputError(
            f"{folder} holds something that is no adaptation, so it is kept: choose another --work"
        )
    elif holds and not overwrite:
        raise OutputError(
            f"{folder} holds a former adaptation: give --resume to go on with it, --overwrite to begin anew, "
            "or another --work"
        )
    elif holds and (init := record.get("--init")) and Path(init).is_relative_to(folder.resolve()):
        raise OutputError(f"--init {init} lies in {folder}, so that is kept: choose another --work")


def _nearest(folder: Path) -> Path | None:
    """Return a folder, or the first above it that may be looked at; None: not even a drive is there."""
    for place in (folder, *folder.absolute().parents):
        try:
            if place.exists():
                return place
        except OSError:  # what is above it must not be entered
            continue
    return None


def is_begun(folder: Path) -> bool:
    """Tell whether a folder holds an adaptation that can be gone on with."""
    return (folder / ADAPT_JSON).is_file()


def _check_same(folder: Path, record: dict[str, Any], fingerprints: dict[str, str]) -> None:
    path = folder / ADAPT_JSON
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        kind, version, before = stored["format"], stored["format_version"], stored["wishes"]
        data = stored.get("data", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({error}): begin anew with --overwrite in place of --resume"
        ) from error
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        raise RunError(
            f"{path} is {kind} version {version}, wanted {FORMAT} version {FORMAT_VERSION}: begin anew with "
            "--overwrite in place of --resume, or choose another --work"
        )
    for option, now in record.items():
        if before.get(option) != now:
            raise RunError(
                f"{folder} was begun with {option} {json.dumps(before.get(option))} and is now to go on with "
                f"{json.dumps(now)}: resume with the same options, or choose another --work"
            )
    for role, found in fingerprints.items():
        if data.get(role) != found:
            raise RunError(
                f"the {role} is not the one that {folder} was begun with (fingerprints differ): put it back, "
                "or choose another --work"
            )


def begin_work(folder: Path, record: dict[str, Any], fingerprints: dict[str, str], *, resume: bool) -> None:
    """Make a checked folder and those above it ready; unless it is resumed, former runs are dropped.

    Raises:
        OutputError: it cannot be written.
    """
    if resume:
        return
    with translate_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in STAGE_FOLDERS:
            former = folder / name
            if (former / RUN_JSON).is_file() or (former / STARTED_JSON).is_file():
                shutil.rmtree(former)
    kind = {"format": FORMAT, "format_version": FORMAT_VERSION}
    write_json(folder / ADAPT_JSON, {**kind, "wishes": record, "data": fingerprints})


def states(plan: Plan, *, resume: bool) -> list[StageState]:
    """Return how far each stage is.

    Raises:
        RunError: a folder holds a run of another recipe, or one that started from other weights.
    """
    return [_state(stage) if resume else FRESH for stage in plan.stages]


def _state(stage: Stage) -> StageState:
    if (stage.folder / RUN_JSON).is_file():
        run = load_run(stage.folder)
        if run.placed.recipe.as_json() != stage.placed.recipe.as_json():
            raise RunError(
                f"{stage.folder} holds a run of another recipe, as another version of DMN makes it: begin "
                "anew with --overwrite, or choose another --work"
            )
        for role, folder in named_starts(stage.placed):
            recorded = (run.facts.get(role) or {}).get("weights_sha256")
            if recorded != load_run(folder).facts["weights_sha256"]:
                raise RunError(
                    f"{stage.folder} was trained from other weights than {folder} holds now: begin anew with "
                    "--overwrite, or choose another --work"
                )
        return StageState(begun=True, done=int(run.facts["steps"]), finished=True)
    begun = (stage.folder / STARTED_JSON).is_file()
    return StageState(begun=begun, done=_steps_done(stage.folder / CHECKPOINT), finished=False)


def _steps_done(checkpoint: Path) -> int:
    """Return the steps of a checkpoint; 0 without one. A damaged one is the training's to refuse."""
    if not checkpoint.is_file():
        return 0
    try:
        with safe_open(checkpoint, framework="pt") as archive:
            return int((archive.metadata() or {})["step"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0
