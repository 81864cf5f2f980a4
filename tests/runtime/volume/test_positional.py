"""Positional reads: both ways give the same bytes, from several threads, and notice the end."""

from concurrent.futures import ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.positional import HAS_PREAD, PositionalFile

DATA = np.random.default_rng(0).integers(0, 256, 5000, np.uint8)


WAYS = [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_PREAD, reason="the system has no preadv"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "bytes").write_bytes(DATA.tobytes())
    return tmp_path / "bytes"


@pytest.mark.parametrize("pread", WAYS)
def test_reads_from_threads(path: Path, pread: bool) -> None:
    with PositionalFile(path, pread=pread) as file, ThreadPoolExecutor(4) as pool:

        def check(offset: int) -> None:
            target = np.empty((3, 100), np.uint16)
            file.read_into(target, offset)
            assert target.tobytes() == DATA[offset : offset + 600].tobytes()
            assert file.read(offset, 70) == DATA[offset : offset + 70].tobytes()

        list(pool.map(check, range(0, 4400, 11)))


class Interrupted:
    """A file that lets other threads run between a seek and the read that follows."""

    def __init__(self, file: RawIOBase) -> None:
        self.file = file

    def seek(self, offset: int) -> None:
        self.file.seek(offset)
        sleep(1e-4)

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


@pytest.mark.parametrize("into", [True, False])
def test_the_lock_holds_seek_and_read_together(path: Path, into: bool) -> None:
    with PositionalFile(path, pread=False) as file, ThreadPoolExecutor(4) as pool:
        file._file = Interrupted(file._file)

        def read(offset: int) -> bytes:
            if not into:
                return file.read(offset, 5)
            target = np.empty(5, np.uint8)
            file.read_into(target, offset)
            return target.tobytes()

        offsets = range(0, 4000, 100)
        assert list(pool.map(read, offsets)) == [DATA[i : i + 5].tobytes() for i in offsets]


@pytest.mark.parametrize("pread", WAYS)
def test_end_of_file(path: Path, pread: bool) -> None:
    with PositionalFile(path, pread=pread) as file:
        file.read_into(np.empty(10, np.uint8), 4990)
        with pytest.raises(VolumeError, match="reach to byte 5001, but it ends at 5000"):
            file.read_into(np.empty(11, np.uint8), 4990)
        with pytest.raises(VolumeError, match="reach to byte 5001, but it ends at 5000"):
            file.read(4990, 11)


def test_short_reads_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may return less than was asked for, and does above 2 GiB."""
    file = PositionalFile(path)
    plain = file._read_some
    monkeypatch.setattr(PositionalFile, "_read_some", lambda _, target, offset: plain(target[:7], offset))
    target = np.empty(100, np.uint8)
    file.read_into(target, 50)
    file.close()
    np.testing.assert_array_equal(target, DATA[50:150])
