"""A folder may be out of sight for a while, and not for ever."""

import errno
from pathlib import Path

import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.arrivals import Entry, Stamp
from dmn_runtime.live.looks import PATIENCE_S, Looks, look_once

FOLDER = Path("share")
FILES = {"s1.tif": Entry(Stamp(5, 1), 0)}
WARNING = "warning: share is out of sight (Stale file handle); the run looks again for 5 min"
GONE = r"share cannot be watched \(Stale file handle\): check the folder and the network"


class Share:
    """A folder on a network, and a clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.there = True
        self.said: list[str] = []
        self.looks = Looks(FOLDER, self.list_folder, lambda: self.now_s, self.said.append)

    def list_folder(self, folder: Path) -> dict[str, Entry]:
        assert folder == FOLDER
        if not self.there:
            raise OSError(errno.ESTALE, "Stale file handle")
        return FILES


def test_every_absence_is_stood_and_said_once() -> None:
    share = Share()
    for _ in range(2):
        share.there = False
        for _ in range(3):
            share.now_s += PATIENCE_S / 3
            assert share.looks.look() is None
        share.there = True
        assert share.looks.look() == FILES
    assert share.said == [WARNING, WARNING]


def test_an_absence_that_lasts_ends_the_run() -> None:
    share = Share()
    share.there = False
    for now_s in (10.0, 10.0 + PATIENCE_S - 0.1):
        share.now_s = now_s
        assert share.looks.look() is None
    share.now_s = 10.0 + PATIENCE_S
    with pytest.raises(VolumeError, match=GONE):
        share.looks.look()


def test_a_single_look_stands_nothing() -> None:
    share = Share()
    assert look_once(FOLDER, share.list_folder) == FILES
    share.there = False
    with pytest.raises(VolumeError, match=GONE):
        look_once(FOLDER, share.list_folder)
