"""Opening and closing of a run folder: who may write into it, and what run.json says at the end."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dmn_runtime.errors import OutputError, RunError
from dmn_train.files import write_json
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import CHECKPOINT, RUN_JSON, STARTED_JSON

RECORDED_LIBRARIES = ("numpy", "torch", "lightning-fabric", "kornia", "safetensors", "dmn")


def open_folder(folder: Path, placed: PlacedRecipe, *, resume: bool, overwrite: bool) -> bool:
    """Make `folder` ready for a run of `placed`; return whether there is a checkpoint to go on from.

    Raises:
        OutputError: the folder holds something and neither `resume` nor `overwrite` is given, or it cannot
            be written.
        RunError: to be resumed, but it holds no unfinished run, or one of another recipe.
    """
    started = {"recipe": placed.recipe.as_json(), "recipe_folder": str(placed.folder)}
    if resume:
        _check_same(folder, started)
        return (folder / CHECKPOINT).is_file()
    try:
        _clear(folder, overwrite=overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STARTED_JSON, started)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}): choose another -o") from error
    return False


def close_folder(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json, which makes the run a finished one, and drop what only an unfinished run needs."""
    write_json(folder / RUN_JSON, facts)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    (folder / STARTED_JSON).unlink(missing_ok=True)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape the numbers."""
    return {name: version(name) for name in RECORDED_LIBRARIES}


def _clear(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, wanted a folder for the run: choose another -o")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{folder} is not empty: choose another -o, or give --resume or --overwrite")
    if not (folder / RUN_JSON).is_file() and not (folder / STARTED_JSON).is_file():
        raise OutputError(f"{folder} holds something that is no run, so it is kept: choose another -o")
    shutil.rmtree(folder)


def _check_same(folder: Path, started: dict[str, Any]) -> None:
    path = folder / STARTED_JSON
    if (folder / RUN_JSON).is_file():
        raise RunError(f"{folder} holds a finished run: nothing to resume; start anew with --overwrite")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no unfinished run: start one without --resume") from error
    if before["recipe"] != started["recipe"]:
        key = _first_difference(before["recipe"], started["recipe"], "")
        raise RunError(f"{folder} was started from another recipe ({key}): resume with the same one")


def _first_difference(before: Any, now: Any, key: str) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *now]:
            if before.get(name) != now.get(name):
                return _first_difference(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return f"{key} was {json.dumps(before)} and is {json.dumps(now)}"
