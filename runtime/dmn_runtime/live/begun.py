"""What a live run that is resumed was begun with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_runtime.errors import ResumeError
from dmn_runtime.live.series import Series
from dmn_runtime.run_report import report_path
from dmn_runtime.sink.ledger import Ledger
from dmn_runtime.sink.paths import OutputKind, output_kind, probability_path
from dmn_runtime.volume.open import open_volume

LIVE_INPUT = "--watch"
"""Stands in a ledger where batch runs have the fingerprint of their input, which is not there yet."""
SERIES_KEY = "series"
"""In the ledger: how the slices are named, and the sample from which intensities were taken."""


@dataclass(frozen=True)
class Begun:
    """Series of slices, grey values that became -1 and 1, and voxels of their sample; None: not known."""

    series: Series | None = None
    intensity: tuple[float, float] | None = None
    sampled_voxels: int | None = None


def begun_run(output: Path) -> Begun:
    """Return what the run of `output` was begun with, from its ledger or, where it is finished, its report.

    Raises:
        ResumeError: it was begun without --watch.
    """
    header = Ledger.begun(output)
    if header is None:
        return _of_report(report_path(output))
    if header.get("input") != LIVE_INPUT:
        raise ResumeError(
            f"{output} was begun without --watch: leave --watch out, or start anew with --overwrite"
        )
    try:
        return _of_header(header["extra"])
    except (KeyError, TypeError, ValueError):
        return Begun()  # the comparison of headers says what is wrong


def _of_header(extra: dict[str, Any]) -> Begun:
    known = extra[SERIES_KEY]
    series = Series(
        str(known["kind"]), tuple(map(str, known["texts"])), int(known["at"]), int(known["first"])
    )
    low, high, _ = extra["normalisation"]
    return Begun(series, (float(low), float(high)), int(known["sampled_voxels"]))


def _of_report(path: Path) -> Begun:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["normalisation"]
        return Begun(None, (float(known["low"]), float(known["high"])), int(known["sampled_voxels"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Begun()  # so is a report that cannot be read: `require_same_run` speaks of it


def series_json(series: Series, sampled_voxels: int) -> dict[str, Any]:
    """Return what `begun_run` reads back."""
    return {**vars(series), "texts": list(series.texts), "sampled_voxels": sampled_voxels}


def finished_depth(output: Path) -> int:
    """Return how many slices a finished output has."""
    path = probability_path(output) if output_kind(output) is OutputKind.TIFF else output
    with open_volume(path) as written:
        return written.shape[0]
