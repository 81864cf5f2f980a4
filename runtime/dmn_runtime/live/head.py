"""The first slices of an acquisition: they say how slices are named, how large they are, how bright."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.geometry import Spacing
from dmn_runtime.live.arrivals import Arrivals
from dmn_runtime.live.looks import ListFolder, Looks, look_once
from dmn_runtime.live.series import Series, find_series, is_slice_name
from dmn_runtime.live.whole import require_whole
from dmn_runtime.normalise import histogram, sample_regions
from dmn_runtime.volume.file_volume import FileVolume
from dmn_runtime.volume.open import ZARR_MARKS
from dmn_runtime.volume.slices import SliceFile, inspect_slice, open_slices, read_slice
from dmn_runtime.words import counted

SLICES = 4
"""Intensities that are not given are taken from so many first slices, or more if more are there."""


@dataclass(frozen=True)
class Timing:
    """The seam to clock and folder, which tests replace.

    `now` gives seconds of a clock that does not go back, `pause` waits so many, `list_folder` gives the files
    of a folder, or raises OSError.
    """

    now: Callable[[], float]
    pause: Callable[[float], None]
    list_folder: ListFolder


@dataclass(frozen=True)
class Head:
    """What the first slices say.

    Attributes:
        series: how slices are named.
        model: slice 0, which all others must be like.
        volume: of the slices that are there in a row.
        counts: histogram of its sample.
    """

    series: Series
    model: SliceFile
    volume: FileVolume
    counts: NDArray[np.int64]


def require_folder(path: str) -> Path:
    """Return the folder of slices that `path` names.

    Raises:
        VolumeError: there is none.
        UsageError: it is a file or a store.
    """
    folder = Path(path)
    if not folder.exists():
        raise VolumeError(f"{folder} does not exist: make the folder first, then start the acquisition")
    if not folder.is_dir() or any((folder / mark).is_file() for mark in ZARR_MARKS):
        raise UsageError(
            f"--watch wants a folder into which slices are written, and {folder} is none: leave --watch out"
        )
    return folder


@dataclass(frozen=True)
class Wanted:
    """What is waited for.

    Attributes:
        count: slices in a row, from the first one on.
        alone: take no more, even if more are there: what they would tell is known.
        first: the number of slice 0; None takes the smallest there is.
        series: of the run that is resumed; None looks at the names.
        voxel_nm: overrides what the files say.
        depth: of the volume to be, where it is known; at least 1.
    """

    count: int
    alone: bool
    first: int | None
    series: Series | None
    voxel_nm: Spacing | None
    depth: int | None


def wait_for_head(
    folder: Path,
    wanted: Wanted,
    arrivals: Arrivals,
    timing: Timing,
    poll_s: float,
    say: Callable[[str], None],
    show: Callable[[str], None],
) -> Head:
    """Wait until the first slices are there and can be read.

    Args:
        folder: that is watched.
        wanted: what is waited for.
        arrivals: which files have come to rest.
        timing: clock and folder.
        poll_s: time between two looks.
        say: takes sentences for people.
        show: takes what the run waits for, again and again.

    Raises:
        VolumeError: the folder is gone, or its files are not the slices of one acquisition.
    """
    told: set[str] = set()
    looks = Looks(folder, timing.list_folder, timing.now, say)
    while True:
        listing = looks.look()
        if listing is not None:
            arrivals.observe(listing, timing.now())
        names = sorted(arrivals.standing())
        series = wanted.series
        if series is None and len(names) >= wanted.count:
            series = find_series(str(folder), names, wanted.first)
        there = _in_a_row(series, names)
        if series is not None and len(there) >= wanted.count:
            try:
                return _head(folder, series, there, wanted)
            except VolumeError as error:
                if str(error) not in told:
                    told.add(str(error))
                    say(f"warning: {error}; the run waits for it")
        show(f"waiting for the first {counted(wanted.count, 'slice')} in {folder}: {len(names)} there")
        timing.pause(poll_s)


def head_of_finished(folder: Path, wanted: Wanted, list_folder: ListFolder) -> Head:
    """Return the head of the slices of a finished output, which are there or will not come: look once.

    Raises:
        VolumeError: one is missing or cannot be read, or the folder is gone.
    """
    names = sorted(filter(is_slice_name, look_once(folder, list_folder)))
    series = wanted.series
    if series is None and names:
        series = find_series(str(folder), names, wanted.first)
    there = _in_a_row(series, names)
    if series is None or len(there) < wanted.count:
        missing = "none" if series is None else f"no slice {series.first + len(there)}"
        raise VolumeError(
            f"the output is finished with {counted(wanted.count, 'slice')}, and {folder} has {missing} of "
            "them: put back what it was made from, or choose another output"
        )
    return _head_of([folder / name for name in there[: wanted.count]], folder, series, wanted)


def _in_a_row(series: Series | None, names: list[str]) -> list[str]:
    """Return the names of slices 0, 1, ... up to the first that is missing."""
    if series is None:
        return []
    # The later of two names with one number is left aside, as it is in the run.
    by_index = {series.index(name): name for name in reversed(names)}
    row: list[str] = []
    while len(row) in by_index:
        row.append(by_index[len(row)])
    return row


def _head(folder: Path, series: Series, names: list[str], wanted: Wanted) -> Head:
    """Return the head of as many slices as are there, or of those that are wanted if another is faulty."""
    fewest = [folder / name for name in names[: wanted.count]]
    if wanted.alone:
        return _head_of(fewest, folder, series, wanted)
    try:
        return _head_of([folder / name for name in names[: wanted.depth]], folder, series, wanted)
    except VolumeError:
        return _head_of(fewest, folder, series, wanted)


def _head_of(paths: list[Path], folder: Path, series: Series, wanted: Wanted) -> Head:
    # One of several: a lone slice would be taken to be as thick as its pixels are high.
    model = inspect_slice(paths[0], series.kind, wanted.depth or 2)
    # Only what is sampled is read, however much is there: the run looks at every other slice in its turn.
    sampled = {region.start[0] for region in sample_regions((len(paths), *model.shape))}
    for z in sorted({0, *sampled}):
        require_whole(paths[z], series.kind)
    read_slice(model)
    source = open_slices(paths, series.kind, folder_format(series.kind))
    volume = FileVolume(str(folder), source, wanted.voxel_nm)
    try:
        return Head(series, model, volume, histogram(volume))
    except VolumeError:
        volume.close()
        raise


def folder_format(kind: str) -> str:
    """Return how a folder of slices is called in reports."""
    return f"folder of {kind} slices"
