"""When a file has come to rest: by looks at a folder alone."""

import errno
import os
from pathlib import Path

import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.arrivals import Arrivals, Changes, Entry, Stamp, list_folder, stamp_of


def entry(size: int, mtime_ns: int = 1, inode: int = 0) -> Entry:
    return Entry(Stamp(size, mtime_ns), inode)


def test_a_file_that_did_not_change_for_the_time_is_complete_once() -> None:
    arrivals = Arrivals(settle_s=2.0)
    assert arrivals.observe({"s1.tif": entry(5)}, 10.0) == Changes()
    assert arrivals.observe({"s1.tif": entry(5)}, 11.9) == Changes()
    assert arrivals.observe({"s1.tif": entry(5)}, 12.0) == Changes({"s1.tif": Stamp(5, 1)})
    assert arrivals.observe({"s1.tif": entry(5)}, 14.0) == Changes()
    assert arrivals.standing() == {"s1.tif": Stamp(5, 1)}


@pytest.mark.parametrize("changed", [entry(6), entry(5, 2)])
def test_size_or_time_begin_the_wait_anew(changed: Entry) -> None:
    arrivals = Arrivals(settle_s=2.0)
    arrivals.observe({"s1.tif": entry(5)}, 0.0)
    arrivals.observe({"s1.tif": changed}, 1.9)
    assert arrivals.observe({"s1.tif": changed}, 3.8) == Changes()
    assert arrivals.observe({"s1.tif": changed}, 3.9) == Changes({"s1.tif": changed.stamp})


@pytest.mark.parametrize("changed", [{"s1.tif": entry(6)}, {}])
def test_a_complete_file_that_changes_or_goes_is_lost_and_waited_for_again(changed: dict[str, Entry]) -> None:
    arrivals = Arrivals(settle_s=1.0)
    arrivals.observe({"s1.tif": entry(5)}, 0.0)
    arrivals.observe({"s1.tif": entry(5)}, 1.0)
    assert arrivals.observe(changed, 2.0) == Changes(lost=("s1.tif",))
    assert arrivals.standing() == {}
    assert arrivals.observe({"s1.tif": entry(6)}, 3.0).settled == ({"s1.tif": Stamp(6, 1)} if changed else {})
    assert arrivals.observe({"s1.tif": entry(6)}, 4.0).settled == ({} if changed else {"s1.tif": Stamp(6, 1)})


def test_a_file_that_is_renamed_into_place_is_complete_at_once() -> None:
    arrivals = Arrivals(settle_s=100.0)
    arrivals.observe({"s1.tif.part": entry(9, 2, inode=7), "s2.tif": entry(1, inode=8)}, 0.0)
    found = arrivals.observe({"s1.tif": entry(9, 2, inode=7), "s2.tif": entry(1, inode=8)}, 1.0)
    assert found == Changes({"s1.tif": Stamp(9, 2)})


@pytest.mark.parametrize("half", [entry(4, 1, inode=7), entry(1, 2, inode=7)])
def test_a_file_that_was_given_the_inode_of_another_waits(half: Entry) -> None:
    arrivals = Arrivals(settle_s=2.0)
    arrivals.observe({"run.lock": entry(1, 1, inode=7)}, 0.0)
    assert arrivals.observe({"s1.tif": half}, 0.5) == Changes()
    assert arrivals.observe({"s1.tif": half}, 2.4) == Changes()
    assert arrivals.observe({"s1.tif": half}, 2.5) == Changes({"s1.tif": half.stamp})


def test_a_system_without_inodes_waits() -> None:
    arrivals = Arrivals(settle_s=100.0)
    arrivals.observe({"s1.tif.part": entry(3)}, 0.0)
    assert arrivals.observe({"s1.tif": entry(3)}, 1.0) == Changes()


def test_a_forgotten_file_comes_to_rest_anew() -> None:
    arrivals = Arrivals(settle_s=1.0)
    for now_s in (0.0, 1.0):
        arrivals.observe({"s1.tif": entry(5)}, now_s)
    arrivals.forget("s1.tif")
    assert arrivals.observe({"s1.tif": entry(5)}, 2.0) == Changes()
    assert arrivals.observe({"s1.tif": entry(5)}, 3.0).settled == {"s1.tif": Stamp(5, 1)}


def test_a_folder_is_listed_without_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "s1.tif").write_bytes(b"abc")
    (tmp_path / "s2.tif").mkdir()
    found = list_folder(tmp_path)
    assert list(found) == ["s1.tif"]
    assert found["s1.tif"].stamp == stamp_of(tmp_path / "s1.tif")
    assert found["s1.tif"].stamp.size == 3
    with pytest.raises(FileNotFoundError):
        list_folder(tmp_path / "gone")


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links only for some")
def test_a_folder_is_listed_without_a_file_that_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "s1.tif").write_bytes(b"abc")
    (tmp_path / "s2.tif").symlink_to("s2.tif")
    assert list(list_folder(tmp_path)) == ["s1.tif"]


def test_a_stamp_is_none_without_a_file_and_a_sentence_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s1.tif").write_bytes(b"abc")
    assert stamp_of(tmp_path / "s3.tif") is None
    assert stamp_of(tmp_path / "s1.tif" / "s3.tif") is None

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(VolumeError, match=r"s1.tif cannot be looked at \(Permission denied\)"):
        stamp_of(tmp_path / "s1.tif")
