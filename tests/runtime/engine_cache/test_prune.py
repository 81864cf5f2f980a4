"""Listing and pruning: what is planned, and what is removed."""

import errno
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from dmn_runtime.engine_cache.here import Here
from dmn_runtime.engine_cache.layout import Layout
from dmn_runtime.engine_cache.listing import entries
from dmn_runtime.engine_cache.prune import plan_prune, prune, unfinished_builds
from dmn_runtime.gpu.inquiry import Gpu

from .conftest import KEY

HERE = Here(
    {"tensorrt": None, "tensorrt_rtx": "1.7.1.116"},
    (Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", None),),
    "linux_x86_64",
)
STALE = replace(KEY, driver="570.1")
ELSEWHERE = replace(KEY, device="", driver="", targets=("SM120",))


@pytest.fixture
def filled(workshop):
    """Return a cache with a ready, a stale, a damaged engine and one for other machines."""
    damaged = replace(KEY, precision="fp32")
    for key in (KEY, STALE, ELSEWHERE, damaged):
        workshop.obtain(key)
    os.truncate(workshop.entry(damaged) / "engine.plan", 20)
    workshop.damaged = damaged
    return workshop


def planned(workshop, days_later=0, **options):
    now = datetime.now(UTC) + timedelta(days=days_later)
    found = entries(workshop.folder)
    return {doomed.digest: doomed.why for doomed in plan_prune(found, HERE, now, **options)}


def test_all_are_listed_and_the_damaged_last(filled):
    found = entries(filled.folder)
    assert {entry.digest for entry in found} == set(filled.names())
    assert [entry.fault for entry in found[:3]] == [None] * 3
    assert (found[3].record, found[3].fault) == (None, "its plan is cut short: 20 of 920 bytes")
    ready = next(entry for entry in found if entry.digest == KEY.digest)
    assert ready.record.key == KEY
    assert ready.size_bytes == 920 + (ready.path / "record.json").stat().st_size


def test_a_folder_that_was_renamed_is_damaged(workshop):
    workshop.obtain()
    workshop.entry().rename(workshop.entry(STALE))
    [entry] = entries(workshop.folder)
    assert (entry.record, entry.fault) == (None, "its record belongs to another engine")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_stands_in_the_place_of_an_entry_is_listed_and_removed(workshop, make):
    layout = Layout(workshop.folder)
    layout.engines.mkdir(parents=True)
    make(layout.entry(KEY.digest))
    found = entries(workshop.folder)
    assert [entry.fault for entry in found] == ["its record is missing"]
    [done] = prune(plan_prune(found, HERE, datetime.now(UTC)), folder=workshop.folder)
    assert (done.outcome, workshop.names()) == ("removed", [])


def test_an_empty_cache(workshop):
    assert entries(workshop.folder) == ()
    assert unfinished_builds(workshop.folder) == ()
    assert not workshop.folder.exists()


def test_what_cannot_be_used_here_goes(filled):
    damaged = "damaged: its plan is cut short: 20 of 920 bytes"
    assert planned(filled) == {STALE.digest: "other driver", filled.damaged.digest: damaged}


def test_all_go(filled):
    assert set(planned(filled, everything=True)) == set(filled.names())


def test_the_old_go_too(filled):
    week = timedelta(days=7)
    assert set(planned(filled, days_later=6, older_than=week)) == {STALE.digest, filled.damaged.digest}
    old = planned(filled, days_later=8, older_than=week)
    assert set(old) == set(filled.names())
    assert old[KEY.digest] == old[ELSEWHERE.digest] == "older than 7 days"
    day = planned(filled, days_later=8, older_than=timedelta(days=1))
    assert day[KEY.digest] == "older than 1 day"


def doomed_of(workshop):
    return plan_prune(entries(workshop.folder), HERE, datetime.now(UTC))


def test_removing(filled):
    done = prune(doomed_of(filled), folder=filled.folder)
    assert [one.outcome for one in done] == ["removed", "removed"]
    assert filled.names() == sorted([KEY.digest, ELSEWHERE.digest])
    assert filled.obtain(STALE).how == "built"


def test_a_dry_run_removes_nothing(filled):
    before = filled.names()
    done = prune(doomed_of(filled), dry_run=True, folder=filled.folder)
    assert [one.outcome for one in done] == ["would be removed"] * 2
    assert filled.names() == before


def test_what_another_holds_stays(filled):
    with FileLock(Layout(filled.folder).lock(STALE.digest)):
        done = {one.doomed.digest: one.outcome for one in prune(doomed_of(filled), folder=filled.folder)}
    assert done == {STALE.digest: "in use", filled.damaged.digest: "removed"}
    assert STALE.digest in filled.names()


def test_dead_builds_go_and_live_ones_stay(workshop):
    layout = Layout(workshop.folder)
    for key in (KEY, STALE):
        partial = layout.new_partial(key.digest)
        partial.mkdir(parents=True)
        (partial / "engine.plan").write_bytes(b"half")
    with FileLock(layout.lock(STALE.digest)):
        done = prune(unfinished_builds(workshop.folder), folder=workshop.folder)
    assert {one.doomed.digest: one.outcome for one in done} == {KEY.digest: "removed", STALE.digest: "in use"}
    assert [one.doomed.size_bytes for one in done] == [4, 4]
    [left] = workshop.names()
    assert left.startswith(f".building-{STALE.digest}-")


def test_what_cannot_be_removed_is_said(filled, monkeypatch):
    def refuse(*_words, **_more):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    done = prune(doomed_of(filled), folder=filled.folder)
    assert {(one.outcome, one.fault) for one in done} == {("cannot be removed", os.strerror(errno.EROFS))}


def test_a_locked_folder_of_locks_is_said(filled):
    shutil.rmtree(filled.folder / "locks")
    (filled.folder / "locks").touch()
    assert {one.outcome for one in prune(doomed_of(filled), folder=filled.folder)} == {"cannot be removed"}
