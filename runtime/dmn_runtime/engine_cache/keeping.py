"""Putting an entry in its place whole, and removing one."""

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from dmn_runtime.engine_cache.layout import PLAN, RECORD
from dmn_runtime.engine_cache.record import Record, parse_record, record_text

_TRIES = 6
_PAUSE_S = 0.05


def keep(partial: Path, entry: Path, record: Record) -> None:
    """Make the finished build in the folder `partial` the entry; the caller holds the entry's lock.

    What stood there goes first, its record before its plan; then one rename of the folder shows both files at
    once. A reader between the two finds nothing, and waits for the lock.

    Raises:
        OSError: the cache cannot be written.
    """
    text = record_text(record)
    assert parse_record(text.encode("ascii")) == record, "a record that reads back otherwise"
    (partial / RECORD).write_text(text, encoding="ascii", newline="\n")
    for name in (PLAN, RECORD):
        with (partial / name).open("r+b") as file:
            os.fsync(file.fileno())
    remove(entry)
    _rename(partial, entry)


def remove(path: Path) -> None:
    """Remove an entry, an unfinished build, or whatever stands in its place; nothing there is as good.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Without its record the rest vouches for nothing, should the removal be cut off. A record that cannot
    # be unlinked (a folder in its place) vouches for nothing either.
    with suppress(OSError):
        (path / RECORD).unlink()
    shutil.rmtree(path)


def size_bytes(path: Path) -> int:
    """Return the bytes of the files at `path`, as far as they can be seen."""
    total = 0
    with suppress(OSError):
        for file in [path] if path.is_symlink() else [path, *path.rglob("*")]:
            facts = file.lstat()
            total += 0 if stat.S_ISDIR(facts.st_mode) else facts.st_size
    return total


def _rename(partial: Path, entry: Path) -> None:
    """Rename, with patience: on Windows a virus scanner holds a new file for a moment after it is written."""
    for attempt in range(_TRIES):
        try:
            partial.rename(entry)
            return
        except PermissionError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(_PAUSE_S * 2**attempt)
