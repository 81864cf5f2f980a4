"""Opening and closing of a run folder: who may write into it, and what run.json says at the end."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dmn_runtime import __version__
from dmn_runtime.errors import OutputError, RunError
from dmn_train.files import write_json
from dmn_train.lineage import starts_of
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import CHECKPOINT, RUN_JSON, STARTED_JSON

RECORDED_LIBRARIES = ("numpy", "torch", "lightning-fabric", "kornia", "safetensors")


def check_folder(folder: Path, placed: PlacedRecipe, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that a run of `placed` may not be written into; change nothing.

    Raises:
        OutputError: it holds something, and neither `resume` nor `overwrite` is given.
        RunError: it is to be resumed, but holds no unfinished run, or one of another recipe.
    """
    if resume:
        before = _started(folder)["recipe"]
        now = placed.recipe.as_json()
        if before != now:
            difference = _first_difference(before, now, "")
            raise RunError(
                f"{folder} was started from another recipe ({difference}): resume with the same one"
            )
        return
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, wanted a folder for the run: choose another -o")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if folder.resolve() in _runs_read(placed):
        raise OutputError(f"{folder} is the run that this one starts from, so it is kept: choose another -o")
    if not overwrite:
        raise OutputError(f"{folder} is not empty: choose another -o, or give --resume or --overwrite")
    if not (folder / RUN_JSON).is_file() and not (folder / STARTED_JSON).is_file():
        raise OutputError(f"{folder} holds something that is no run, so it is kept: choose another -o")


def _runs_read(placed: PlacedRecipe) -> set[Path]:
    """Return the full paths of the runs that a recipe starts from and learns from."""
    return {folder.resolve() for folder in starts_of(placed)}


def open_folder(folder: Path, placed: PlacedRecipe, fingerprints: list[str], *, resume: bool) -> None:
    """Make a checked folder ready.

    Args:
        folder: passed by `check_folder`; unless it is resumed, what it holds is dropped.
        placed: the recipe.
        fingerprints: of the data, and of the weights that the run starts from.
        resume: go on with the run in it.

    Raises:
        OutputError: the folder cannot be written.
        RunError: the data are not those that the run was started with.
    """
    if resume:
        if _started(folder)["data"] != fingerprints:
            raise RunError(f"{folder} was started with other data (fingerprints differ): put the data back")
        return
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        write_json(folder / STARTED_JSON, {"recipe": placed.recipe.as_json(), "data": fingerprints})
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}): choose another -o") from error


def close_folder(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json, which makes the run a finished one, and drop what only an unfinished run needs."""
    write_json(folder / RUN_JSON, facts)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    (folder / STARTED_JSON).unlink(missing_ok=True)


def library_versions() -> dict[str, str]:
    """Return the versions of DMN and of the libraries that shape the numbers."""
    return {"dmn": __version__, **{name: version(name) for name in RECORDED_LIBRARIES}}


def _started(folder: Path) -> dict[str, Any]:
    if (folder / RUN_JSON).is_file():
        raise RunError(f"{folder} holds a finished run: nothing to resume; start anew with --overwrite")
    try:
        started: dict[str, Any] = json.loads((folder / STARTED_JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no unfinished run: start one without --resume") from error
    return started


def _first_difference(before: Any, now: Any, key: str) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *now]:
            if before.get(name) != now.get(name):
                return _first_difference(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return f"{key} was {json.dumps(before)} and is {json.dumps(now)}"
