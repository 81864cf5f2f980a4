"""Looks at the folder that is watched; some may fail, for network shares come and go."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.arrivals import Entry, reason_of

PATIENCE_S = 300.0
"""For so long a folder may be out of sight before the run ends."""

ListFolder = Callable[[Path], Mapping[str, Entry]]


def look_once(folder: Path, list_folder: ListFolder) -> Mapping[str, Entry]:
    """Return the files of a folder, by name.

    Raises:
        VolumeError: it cannot be listed.
    """
    try:
        return list_folder(folder)
    except OSError as error:
        raise _gone(folder, error) from error


@final
class Looks:
    """Looks that stand a folder's being out of sight for `PATIENCE_S`."""

    def __init__(
        self, folder: Path, list_folder: ListFolder, now: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        """Look at `folder` with `list_folder`, by the clock `now` (seconds); `say` takes sentences."""
        self._folder = folder
        self._list_folder = list_folder
        self._now = now
        self._say = say
        self._blind_since_s: float | None = None

    def look(self) -> Mapping[str, Entry] | None:
        """Return the files, by name; None while the folder is out of sight, which is said once each time.

        Raises:
            VolumeError: it has been out of sight for `PATIENCE_S`.
        """
        try:
            listing = self._list_folder(self._folder)
        except OSError as error:
            self._stand(error)
            return None
        self._blind_since_s = None
        return listing

    def _stand(self, error: OSError) -> None:
        now_s = self._now()
        if self._blind_since_s is None:
            self._blind_since_s = now_s
            self._say(
                f"warning: {self._folder} is out of sight ({reason_of(error)}); the run looks again for "
                f"{PATIENCE_S / 60:g} min"
            )
        elif now_s - self._blind_since_s >= PATIENCE_S:
            raise _gone(self._folder, error) from error


def _gone(folder: Path, error: OSError) -> VolumeError:
    return VolumeError(
        f"{folder} cannot be watched ({reason_of(error)}): check the folder and the network, then go on with "
        "--resume"
    )
