"""Caches that cannot be written: the engine is built all the same, and not kept."""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from dmn_runtime.engine_cache import keeping, lock
from dmn_runtime.errors import EngineError

from .conftest import Workshop


def is_unkept(workshop, words):
    """Check that the plan is handed out, built once more each time, and that nothing is left anywhere."""
    before = set(Path(tempfile.gettempdir()).glob("dmn-engine-*"))
    obtained = workshop.obtain()
    assert (obtained.plan, obtained.how) == (workshop.plan, "unkept")
    assert words in obtained.why
    assert "DMN_CACHE_DIR" in obtained.why
    assert set(Path(tempfile.gettempdir()).glob("dmn-engine-*")) == before


@pytest.mark.parametrize("way", [".", "engines", "locks"])
def test_a_file_in_the_way(workshop, way):
    path = workshop.folder / way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    is_unkept(workshop, "cannot be written (")
    assert path.is_file()


@pytest.fixture
def read_only(monkeypatch):
    """Make every file and folder of the cache refuse to be written, as a read-only file system does."""
    open_file, make_folder, rename, remove = Path.open, Path.mkdir, Path.rename, Path.unlink

    def start(folder):
        def guarded(function, writes=lambda *_: True):
            def call(path, *words, **more):
                if (
                    folder in (path, *path.parents)
                    and writes(*words)
                    and not ("exist_ok" in more and path.is_dir())
                ):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
                return function(path, *words, **more)

            return call

        monkeypatch.setattr(Path, "open", guarded(open_file, lambda mode="r", *_: mode != "rb"))
        monkeypatch.setattr(Path, "mkdir", guarded(make_folder))
        monkeypatch.setattr(Path, "rename", guarded(rename))
        monkeypatch.setattr(Path, "unlink", guarded(remove))

    return start


def test_a_read_only_disk_without_the_engine(workshop, read_only):
    workshop.folder.mkdir()
    read_only(workshop.folder)
    is_unkept(workshop, "the engine cache has none; this one is not kept, since")
    is_unkept(workshop, os.strerror(errno.EROFS))
    assert workshop.builds == 2


def test_a_read_only_disk_with_the_engine(workshop, read_only):
    workshop.obtain()
    read_only(workshop.folder)
    assert workshop.obtain().how == "cached"
    assert workshop.builds == 1


def test_a_read_only_disk_with_a_damaged_engine(workshop, read_only):
    workshop.obtain()
    plan = workshop.plan
    os.truncate(workshop.entry() / "engine.plan", 10)
    read_only(workshop.folder)
    is_unkept(workshop, "its plan is cut short: 10 of 920 bytes; this one is not kept")
    assert workshop.checked == [plan, plan]  # the first build and the second, never the ten bytes


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes where it likes")
def test_a_folder_without_the_right_to_write(workshop):
    workshop.folder.mkdir()
    workshop.folder.chmod(0o500)
    is_unkept(workshop, os.strerror(errno.EACCES))
    workshop.folder.chmod(0o700)


def full(*_words, **_more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_before_the_build(workshop, monkeypatch):
    monkeypatch.setattr(lock.os, "fsync", full)
    is_unkept(workshop, os.strerror(errno.ENOSPC))
    assert workshop.builds == 1


def test_a_disk_that_fills_up_during_the_build(workshop):
    def build(path):
        workshop.builds += 1
        if workshop.folder in path.parents:
            path.write_bytes(b"half a plan")
            full()
        path.write_bytes(workshop.plan)

    obtained = workshop.obtain(build=build)
    assert (obtained.plan, obtained.how, workshop.builds) == (workshop.plan, "unkept", 2)
    assert workshop.names() == []


def test_a_disk_that_fills_up_at_the_record_costs_no_second_build(workshop, monkeypatch):
    monkeypatch.setattr(keeping, "record_text", full)
    is_unkept(workshop, os.strerror(errno.ENOSPC))
    assert (workshop.builds, workshop.names()) == (1, [])


def test_nowhere_to_build_is_one_sentence(workshop):
    with pytest.raises(
        EngineError, match=r"neither the engine cache \(.*\) nor .* can be written; free space"
    ):
        workshop.obtain(build=full)


def test_a_file_system_without_locks(workshop, monkeypatch):
    def acquire(*_words, **_more):
        raise NotImplementedError

    monkeypatch.setattr(lock.FileLock, "acquire", acquire)
    is_unkept(workshop, "its file system knows no locks")


def test_a_folder_that_forbids_writing_is_not_taken_for_a_lock_that_is_held(workshop, read_only, monkeypatch):
    def acquire(*_words, **_more):  # as on Windows, where both are the same error
        raise lock.Timeout("x.lock")

    monkeypatch.setattr(lock.FileLock, "acquire", acquire)
    (workshop.folder / "locks").mkdir(parents=True)
    read_only(workshop.folder)
    said = []
    assert (workshop.obtain(say=said.append).how, said) == ("unkept", [])


@pytest.mark.parametrize(("refusals", "how"), [(5, "built"), (6, "unkept")])
def test_a_virus_scanner_that_holds_the_new_file(workshop, monkeypatch, refusals, how):
    rename, left = Path.rename, [None] * refusals

    def held(path, target):
        if left:
            left.pop()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", held)
    monkeypatch.setattr(keeping.time, "sleep", lambda _: None)
    assert workshop.obtain().how == how
    assert workshop.builds == 1


def test_a_disk_that_really_is_full(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        workshop = Workshop(folder / "cache", plan=b"plan" * 20_000)
        is_unkept(workshop, os.strerror(errno.ENOSPC))
        assert workshop.names() == []
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        is_unkept(workshop, os.strerror(errno.EROFS))
    finally:
        subprocess.run(["umount", str(folder)], check=True)
