"""Snapshots on disk."""

from pathlib import Path

import pytest
import torch

from dmn_runtime.errors import OutputError, RunError
from dmn_train.snapshots import prune, read_snapshot, snapshot_path, snapshot_steps, write_snapshot

WEIGHTS = {"head.weight": torch.tensor([1.0, 2.0]), "norm.count": torch.tensor(3)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 400, WEIGHTS)
    assert snapshot_path(tmp_path, 400) == tmp_path / "snapshots" / "step000400.safetensors"
    found = read_snapshot(tmp_path, 400)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step000400.safetensors"]


def test_steps_are_numbers(tmp_path: Path) -> None:
    assert snapshot_steps(tmp_path) == ()
    for step in (1_000_000, 20, 3):
        write_snapshot(tmp_path, step, WEIGHTS)
    (tmp_path / "snapshots" / "mine.safetensors").touch()
    assert snapshot_steps(tmp_path) == (3, 20, 1_000_000)


def test_prune_keeps_what_is_named(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_snapshot(tmp_path, step, WEIGHTS)
    prune(tmp_path, {2, 7})
    assert snapshot_steps(tmp_path) == (2,)


def test_prune_leaves_no_empty_folder(tmp_path: Path) -> None:
    prune(tmp_path, ())
    write_snapshot(tmp_path, 1, WEIGHTS)
    prune(tmp_path, ())
    assert list(tmp_path.iterdir()) == []


def test_prune_leaves_files_of_others(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 1, WEIGHTS)
    other = tmp_path / "snapshots" / "notes.txt"
    other.touch()
    prune(tmp_path, ())
    assert list((tmp_path / "snapshots").iterdir()) == [other]


def test_missing_and_damaged_snapshots(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step000005\.safetensors cannot be read"):
        read_snapshot(tmp_path, 5)
    write_snapshot(tmp_path, 5, WEIGHTS)
    snapshot_path(tmp_path, 5).write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"step000005\.safetensors cannot be read"):
        read_snapshot(tmp_path, 5)


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "snapshots").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_snapshot(tmp_path, 5, WEIGHTS)
