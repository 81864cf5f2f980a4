"""Which files of a folder have come to rest: seen by polling alone, for network shares tell nobody."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.series import is_slice_name


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of last change in ns: what tells one version of a file from the next."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """A file as the folder lists it; `inode` 0 on Windows, where it would cost a call for every file."""

    stamp: Stamp
    inode: int


@dataclass(frozen=True)
class Changes:
    """What a look at the folder brought: slices that came to rest, and those that changed or are gone."""

    settled: dict[str, Stamp] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def list_folder(folder: Path) -> dict[str, Entry]:
    """Return every file in `folder`, by name; one that vanishes or cannot be looked at is left out.

    Raises:
        OSError: the folder is gone or closed to us.
    """
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_file():
                    stat = entry.stat()
                    inode = entry.inode() if os.name != "nt" else 0
                    found[entry.name] = Entry(Stamp(stat.st_size, stat.st_mtime_ns), inode)
            except OSError:
                continue  # not there yet: the lag meter names the slice that a run waits for
    return found


def stamp_of(path: Path) -> Stamp | None:
    """Return the version of a file as the system knows it now; None where there is none.

    On Windows a folder's list may lag behind the files in it.

    Raises:
        VolumeError: the system does not tell.
    """
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be looked at ({reason_of(error)}): check the file and the network"
        ) from error
    return Stamp(stat.st_size, stat.st_mtime_ns)


def reason_of(error: OSError) -> str:
    """Return what the system says of an error."""
    return error.strerror or str(error)


@final
class Arrivals:
    """Decides which slices are complete as far as size and time can tell.

    A slice has come to rest when two looks at least `settle_s` apart found the same stamp and no look between
    them another. A file that was seen under a temporary name and now bears a slice's, its stamp being the
    same, is at rest at once: its writer has said so by renaming it.
    """

    def __init__(self, settle_s: float) -> None:
        """Wait `settle_s` seconds for a file to change again."""
        self._settle_s = settle_s
        self._since: dict[str, tuple[Stamp, float]] = {}
        self._settled: dict[str, Stamp] = {}
        self._temporary: dict[int, Stamp] = {}

    def observe(self, listing: Mapping[str, Entry], now_s: float) -> Changes:
        """Take in a look at the folder at `now_s` (seconds of any clock that does not go back)."""
        slices = {name: entry for name, entry in listing.items() if is_slice_name(name)}
        lost = tuple(n for n, stamp in self._settled.items() if n not in slices or slices[n].stamp != stamp)
        for name in lost:
            self.forget(name)
        settled = {name: e.stamp for name, e in slices.items() if self._comes_to_rest(name, e, now_s)}
        self._settled |= settled
        self._since = {name: seen for name, seen in self._since.items() if name in slices}
        self._temporary = {e.inode: e.stamp for n, e in listing.items() if n not in slices and e.inode}
        return Changes(settled, lost)

    def standing(self) -> dict[str, Stamp]:
        """Return the slices that are at rest."""
        return dict(self._settled)

    def forget(self, name: str) -> None:
        """Let a slice come to rest anew."""
        self._settled.pop(name, None)
        self._since.pop(name, None)

    def _comes_to_rest(self, name: str, entry: Entry, now_s: float) -> bool:
        if name in self._settled:
            return False
        stamp, since_s = self._since.get(name, (None, now_s))
        # The inode alone says nothing: that of a lock file that was removed is given to the next new file.
        if stamp is None and self._temporary.get(entry.inode) == entry.stamp:
            return True
        if stamp != entry.stamp:
            since_s = now_s
        self._since[name] = (entry.stamp, since_s)
        return now_s - since_s >= self._settle_s
