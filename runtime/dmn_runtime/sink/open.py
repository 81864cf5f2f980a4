"""From the path that the user named to a sink: what may be written there, and what is there already."""

import os
from enum import Enum
from pathlib import Path

from dmn_runtime.errors import OutputError, ResumeError, UsageError
from dmn_runtime.sink.base import Sink, SinkSpec
from dmn_runtime.sink.disk import discard_partial, remove, translate_os_errors
from dmn_runtime.sink.paths import (
    OutputKind,
    final_paths,
    ledger_path,
    output_kind,
    partial_path,
    replaced_path,
)

__all__ = ["Start", "discard_partial", "ledger_path", "open_sink", "partial_path", "prepare_output"]

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")


class Start(Enum):
    """How a run goes on after `prepare_output`."""

    FRESH = "fresh"
    RESUME = "resume"
    UNREPORTED = "unreported"
    COMPLETE = "complete"


def open_sink(spec: SinkSpec, *, resume: bool) -> Sink:
    """Open the sink that the suffix of `spec.path` asks for.

    Args:
        spec: what is to be written; `prepare_output(spec.path, ...)` has agreed to it.
        resume: go on with the partial output there; otherwise begin one.

    Raises:
        OutputError: the suffix is unknown, or a partial output cannot be begun; none is left then.
        ResumeError: the partial output there is damaged or of another shape.
    """
    kind = output_kind(spec.path)
    if resume:
        with translate_os_errors(spec.path, resumable=True):
            return _construct(kind, spec, resume=True)
    with translate_os_errors(spec.path, resumable=False):
        _claim(spec.path)
        try:
            return _construct(kind, spec, resume=False)
        except BaseException:
            discard_partial(spec.path)
            raise


def _claim(path: Path) -> None:
    """Make the folder of the partial output, which of two runs at once only one can do."""
    try:
        partial_path(path).mkdir()
    except FileExistsError as error:
        raise OutputError(f"{partial_path(path)} exists already: another run is writing {path}") from error


def _construct(kind: OutputKind, spec: SinkSpec, *, resume: bool) -> Sink:
    # each format's libraries are imported only where it is written
    if kind is OutputKind.OME_ZARR:
        from dmn_runtime.sink.ome_zarr import OmeZarrSink

        return OmeZarrSink(spec, resume=resume)
    from dmn_runtime.sink.tiff import TiffSink

    return TiffSink(spec, resume=resume)


def resize_partial(spec: SinkSpec) -> None:
    """Give the partial output of `spec.path` the depth of `spec`; what both have stays, more is empty.

    Raises:
        OutputError: it cannot be written.
        ResumeError: it is damaged, or differs in more than its depth.
    """
    with translate_os_errors(spec.path, resumable=True):
        if output_kind(spec.path) is OutputKind.OME_ZARR:
            from dmn_runtime.sink import ome_zarr

            ome_zarr.resize(spec)
        else:
            from dmn_runtime.sink import tiff

            tiff.resize(spec)


def prepare_output(path: Path, *, overwrite: bool, resume: bool) -> Start:
    """Agree or refuse to write the output `path`, and clear away what an unfinished run left there.

    With `overwrite` an unfinished output is removed now and a finished one only by `Sink.finish`.

    Returns:
        FRESH: nothing is in the way. RESUME: a partial output and its ledger are there. UNREPORTED: the
        output is finished and its ledger still there, so a run ended before its report. COMPLETE: `resume`
        was asked for an output that is finished and reported.

    Raises:
        UsageError: both `overwrite` and `resume`.
        OutputError: the folder is missing or cannot be written, or something is there already.
        ResumeError: there is nothing to resume.
    """
    refuse_output(path, overwrite=overwrite, resume=resume)
    if resume:
        return _prepare_resume(path)
    with translate_os_errors(path, resumable=False):
        # also without a partial output: an old ledger must never meet a new one
        discard_partial(path)
    return Start.FRESH


def refuse_output(path: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse what `prepare_output` would refuse of a fresh run, and change nothing.

    Raises:
        UsageError, OutputError: as there.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other: choose one")
    check_folder(path)
    if overwrite:
        _check_replaceable(path)
    elif not resume:
        _check_free(path)


def check_folder(path: Path) -> None:
    """Refuse an output whose name says no format, or whose folder is missing or cannot be written.

    Raises:
        OutputError: says which.
    """
    output_kind(path)
    folder = path.parent
    if not folder.exists():
        raise OutputError(f"{path} cannot be written, {folder} does not exist: make that folder first")
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written, {folder} is not a folder: choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written, {folder} is read-only: choose another folder")


def _prepare_resume(path: Path) -> Start:
    if partial_path(path).exists():
        if not ledger_path(path).exists():
            raise ResumeError(
                f"{partial_path(path)} has no ledger, so its finished blocks are not known: start anew with "
                "--overwrite"
            )
        return Start.RESUME
    if not path.exists():
        raise ResumeError(f"there is nothing to resume at {path}: run without --resume")
    with translate_os_errors(path, resumable=False):
        remove(replaced_path(path))
    return Start.UNREPORTED if ledger_path(path).exists() else Start.COMPLETE


def _check_free(path: Path) -> None:
    if partial_path(path).exists():
        raise OutputError(
            f"{path} was begun by a run that did not finish: go on with --resume, or start anew with "
            "--overwrite"
        )
    for final in final_paths(path):
        if os.path.lexists(final):
            raise OutputError(f"{final} exists already: replace it with --overwrite, or choose another name")


def _check_replaceable(path: Path) -> None:
    """Refuse to overwrite what a run cannot have written: --overwrite must not cost a folder of data."""
    for final in final_paths(path):
        if output_kind(path) is OutputKind.TIFF and final.is_dir():
            raise OutputError(f"{final} is a folder, not a TIFF: choose another name")
        if output_kind(path) is OutputKind.OME_ZARR and os.path.lexists(final) and not _is_zarr(final):
            raise OutputError(f"{final} is not a Zarr: choose another name")


def _is_zarr(path: Path) -> bool:
    return any((path / mark).exists() for mark in _ZARR_MARKS)
