"""The border to the file system: its faults become one sentence each; folders move and vanish here."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmn_runtime.errors import OutputError
from dmn_runtime.sink.paths import ledger_path, new_ledger_path, partial_path, replaced_path

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_FORBIDDEN = {
    errno.EACCES: "permission is denied",
    errno.EPERM: "the operation is not permitted",
    errno.EROFS: "the file system is read-only",
}
_TOO_LARGE = {errno.EFBIG: "the file system or a limit of this session does not allow files this large"}


@contextmanager
def translate_os_errors(path: Path, *, resumable: bool) -> Iterator[None]:
    """Turn every OSError of the block into an OutputError about the output `path`.

    Args:
        path: the output that the user named.
        resumable: whether finished blocks are on disk, so that `--resume` can go on from them.

    Raises:
        OutputError: says what the system said and what to do.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(_sentence(path, error, resumable=resumable)) from error


def _sentence(path: Path, error: OSError, *, resumable: bool) -> str:
    again = "run again with --resume" if resumable else "run again"
    code = error.errno if error.errno is not None else 0
    if code in _FULL:
        return f"{path} cannot be written, {_FULL[code]}: free space, then {again}"
    if code in _TOO_LARGE:
        return f"{path} cannot be written, {_TOO_LARGE[code]}: write to another disk, or to .ome.zarr"
    if code in _FORBIDDEN:
        return (
            f"{path} cannot be written, {_FORBIDDEN[code]}: mend that or choose another folder, then {again}"
        )
    return f"{path} cannot be written ({error.strerror or error}): mend that, then {again}"


def require_space(path: Path, needed: int) -> None:
    """Refuse an output of `needed` bytes where the disk of `path`'s folder has less.

    Raises:
        OutputError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(
            f"{path} needs {_size(needed)} and its disk has {_size(free)} free: free space, write to another "
            "disk, or write .ome.zarr, which is compressed"
        )


def _size(count: int) -> str:
    if count < 1_000_000:
        return f"{count:,} bytes"
    unit, name = (1e9, "GB") if count >= 1_000_000_000 else (1e6, "MB")
    return f"{count / unit:,.1f} {name}"


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is as good."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard_partial(path: Path) -> None:
    """Remove what an unfinished run left of the output `path`.

    The ledger goes first: a ledger beside a half-removed partial output would promise blocks that are gone.
    """
    ledger_path(path).unlink(missing_ok=True)
    new_ledger_path(ledger_path(path)).unlink(missing_ok=True)
    remove(partial_path(path))


def move_into_place(partial: Path, final: Path) -> None:
    """Move a finished folder to `final`, whatever stands there; the old one is removed last.

    A folder cannot be replaced in one step. Between the two renames the old output stands at
    `replaced_path(final)` and the new one, complete, in `partial`; a resumed run takes it from there.
    """
    replaced = replaced_path(final)
    if os.path.lexists(final):
        remove(replaced)
        final.rename(replaced)
    partial.rename(final)
    remove(replaced)
