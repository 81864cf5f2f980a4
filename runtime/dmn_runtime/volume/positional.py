"""Reads at a position, from any thread, without a mapping: mapped pages would count as our memory."""

import os
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self, final

from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError

HAS_PREAD = hasattr(os, "preadv")
"""False on Windows, where a lock guards seek and read."""


@final
class PositionalFile:
    """A file opened for reading at given offsets; safe to use from several threads at once."""

    def __init__(self, path: Path, *, pread: bool = HAS_PREAD) -> None:
        """Open `path`; `pread` chooses the system's positional read or a lock around seek and read."""
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._pread = pread
        self._lock = Lock()

    def read_into(self, target: NDArray[Any], offset: int) -> None:
        """Fill a C-contiguous array with the bytes from `offset` on.

        Raises:
            VolumeError: the file ends before.
        """
        rest = target.data.cast("B")
        while rest:
            count = self._read_some(rest, offset)
            if count == 0:
                raise VolumeError(truncated(self._path, offset + len(rest), offset))
            rest = rest[count:]
            offset += count

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on.

        Raises:
            VolumeError: the file ends before.
        """
        if self._pread:
            data = os.pread(self._file.fileno(), count, offset)
        else:
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(count)
        if len(data) < count:
            raise VolumeError(truncated(self._path, offset + count, offset + len(data)))
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_some(self, target: memoryview, offset: int) -> int:
        if self._pread:
            return os.preadv(self._file.fileno(), [target], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(target) or 0


def truncated(path: Path | str, wanted: int, found: int) -> str:
    """Return the sentence for a file that ends too early, sizes in bytes."""
    return (
        f"{path} is truncated: its data reach to byte {wanted}, but it ends at {found}; "
        "copy or export it again"
    )
