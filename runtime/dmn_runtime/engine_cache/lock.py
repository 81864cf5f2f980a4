"""One builder an engine: an operating system's lock, which a killed process lets go of by dying."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def held(path: Path, when_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock `path`, however long another process holds it; `when_waiting` is called before a wait.

    Raises:
        OSError: the lock's folder cannot be written, or its file system knows no locks.
    """
    lock = _lock(path)
    if not _acquired(lock, 0):
        when_waiting()
        _acquired(lock, -1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock `path` if nobody else does; yield whether it is held.

    Raises:
        OSError: as of `held`.
    """
    lock = _lock(path)
    acquired = _acquired(lock, 0)
    try:
        yield acquired
    finally:
        if acquired:
            lock.release()


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    _probe(path.parent)
    return FileLock(path)


def _probe(folder: Path) -> None:
    """Write and remove a byte: a lock alone takes a folder that forbids writing for one that is held.

    The byte also finds a full disk before minutes are spent on a build.
    """
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        with probe.open("xb") as file:
            file.write(b"0")
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)


def _acquired(lock: FileLock, timeout_s: float) -> bool:
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, "its file system knows no locks") from error
    return True
