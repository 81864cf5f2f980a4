"""One run an output: an operating system's lock beside it, held from before the first look to the report."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dmn_runtime.errors import OutputError
from dmn_runtime.sink.disk import translate_os_errors
from dmn_runtime.sink.paths import lock_path


@contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Hold the output `output` for this process; its folder must exist.

    A killed process lets go of its lock by dying; the empty file that it leaves is nobody's.

    Raises:
        OutputError: another run holds it, or the lock's file cannot be written.
    """
    lock = FileLock(lock_path(output))
    with translate_os_errors(output, resumable=False):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{output} is being written by another run: wait until it ends, or choose another output"
            ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file: the next run's lock is as good
            lock_path(output).unlink()
        lock.release()
