"""Snapshots: weights of a run at some validations, `snapshots/step000400.safetensors` in its folder."""

import re
from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dmn_runtime.errors import RunError
from dmn_train.files import translate_write_errors, write_whole

SNAPSHOTS = "snapshots"
_NAME = re.compile(r"step(\d{6,})\.safetensors")


def snapshot_path(folder: Path, step: int) -> Path:
    """Return where a run keeps its weights after `step` steps."""
    return folder / SNAPSHOTS / f"step{step:06d}.safetensors"


def write_snapshot(folder: Path, step: int, weights: dict[str, Tensor]) -> None:
    """Write weights, on the CPU and contiguous (`checkpoint.plain_weights`), whole or not at all.

    Raises:
        OutputError: the disk is full, or the system forbids it otherwise.
    """
    path = snapshot_path(folder, step)
    with translate_write_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda partial: save_file(weights, partial))


def read_snapshot(folder: Path, step: int) -> dict[str, Tensor]:
    """Return the weights that `write_snapshot` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = snapshot_path(folder, step)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read ({error}): train again") from error


def snapshot_steps(folder: Path) -> tuple[int, ...]:
    """Return the steps of a run's snapshots, in order; other files are not looked at."""
    found = [_NAME.fullmatch(path.name) for path in (folder / SNAPSHOTS).glob("*.safetensors")]
    return tuple(sorted(int(match[1]) for match in found if match))


def prune(folder: Path, keep_steps: Collection[int]) -> None:
    """Drop all snapshots but those of `keep_steps`, and the folder of snapshots if none is left.

    Call it after the checkpoint that records the validations is written: a run that is resumed from an older
    one may still want what a newer decision drops.

    Raises:
        OutputError: the system forbids it.
    """
    place = folder / SNAPSHOTS
    with translate_write_errors(place):
        for step in snapshot_steps(folder):
            if step not in keep_steps:
                snapshot_path(folder, step).unlink()
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
