import errno
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.errors import OutputError, ResumeError, UsageError
from dmn_runtime.sink.disk import move_into_place, require_space, translate_os_errors
from dmn_runtime.sink.ledger import Ledger, LedgerHeader
from dmn_runtime.sink.open import Start, open_sink, prepare_output
from dmn_runtime.sink.paths import final_paths, ledger_path, partial_path, replaced_path

from .conftest import SHAPE, blocks_of, tree

HEADER = LedgerHeader("input", "package", {}, "0.1")


def write_output(spec, value: int, *, resume: bool = False, finish: bool = True) -> None:
    with closing(open_sink(spec, resume=resume)) as sink:
        voxels = np.full(SHAPE, value, np.uint8)
        for region in blocks_of(spec):
            sink.write(region, voxels[region.slices], voxels[region.slices])
        if finish:
            sink.finish()


def interrupt(spec, value: int = 9) -> None:
    """Leave what a run leaves that was killed after its last block."""
    write_output(spec, value, finish=False)
    Ledger.create(spec.path, HEADER).close()


@pytest.mark.parametrize("name", ["seg.png", "seg", "zarr", "seg.zarr.gz"])
def test_unknown_suffix_names_the_known_ones(tmp_path: Path, make_spec, name: str) -> None:
    with pytest.raises(OutputError, match=r"end the output's name in .ome.zarr \(or .zarr\) or in .tif"):
        open_sink(make_spec(tmp_path / name), resume=False)
    with pytest.raises(OutputError, match=r"end the output's name in"):
        prepare_output(tmp_path / name, overwrite=False, resume=False)


@pytest.mark.parametrize(
    ("name", "finals"),
    [
        ("a.tif", ["a.probability.tif", "a.tif"]),
        ("a.b.TIFF", ["a.b.probability.TIFF", "a.b.TIFF"]),
        ("a.ome.tif", ["a.probability.ome.tif", "a.ome.tif"]),
        ("a.ZARR", ["a.ZARR"]),
    ],
)
def test_final_paths(name: str, finals: list[str]) -> None:
    assert [path.name for path in final_paths(Path("/x") / name)] == finals


def test_free_path_is_a_fresh_start(output: Path) -> None:
    assert prepare_output(output, overwrite=False, resume=False) is Start.FRESH
    assert prepare_output(output, overwrite=True, resume=False) is Start.FRESH


def test_overwrite_and_resume_exclude_each_other(output: Path) -> None:
    with pytest.raises(UsageError, match="--overwrite and --resume exclude each other"):
        prepare_output(output, overwrite=True, resume=True)


def test_missing_folder(output: Path) -> None:
    with pytest.raises(OutputError, match="does not exist: make that folder first"):
        prepare_output(output.parent / "none" / output.name, overwrite=False, resume=False)


def test_folder_that_is_a_file(output: Path) -> None:
    (output.parent / "file").touch()

    with pytest.raises(OutputError, match="is not a folder"):
        prepare_output(output.parent / "file" / output.name, overwrite=False, resume=False)


def test_read_only_folder(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write everywhere, so the system's answer is made up
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    with pytest.raises(OutputError, match="is read-only: choose another folder"):
        prepare_output(output, overwrite=False, resume=False)


def test_finished_output_is_refused_and_untouched(output: Path, make_spec) -> None:
    write_output(make_spec(output), 9)
    before = tree(output.parent)

    with pytest.raises(OutputError, match="exists already: replace it with --overwrite"):
        prepare_output(output, overwrite=False, resume=False)

    assert tree(output.parent) == before


def test_probability_of_another_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.probability.tif").write_bytes(b"mine")

    with pytest.raises(OutputError, match=r"a.probability.tif exists already"):
        prepare_output(tmp_path / "a.tif", overwrite=False, resume=False)


def test_unfinished_output_is_refused_and_untouched(output: Path, make_spec) -> None:
    interrupt(make_spec(output))
    before = tree(output.parent)

    with pytest.raises(OutputError, match="go on with --resume, or start anew with --overwrite"):
        prepare_output(output, overwrite=False, resume=False)

    assert tree(output.parent) == before


def test_unfinished_output_is_resumed(output: Path, make_spec) -> None:
    interrupt(make_spec(output))

    assert prepare_output(output, overwrite=False, resume=True) is Start.RESUME


def test_overwrite_clears_an_unfinished_output_away(output: Path, make_spec) -> None:
    interrupt(make_spec(output))

    assert prepare_output(output, overwrite=True, resume=False) is Start.FRESH
    assert list(output.parent.iterdir()) == []


def test_overwrite_keeps_the_old_output(output: Path, make_spec) -> None:
    write_output(make_spec(output), 9)
    before = tree(output.parent)

    prepare_output(output, overwrite=True, resume=False)

    assert tree(output.parent) == before


def test_nothing_to_resume(output: Path) -> None:
    with pytest.raises(ResumeError, match="there is nothing to resume"):
        prepare_output(output, overwrite=False, resume=True)


def test_partial_output_without_ledger_is_refused(output: Path, make_spec) -> None:
    write_output(make_spec(output), 9, finish=False)

    with pytest.raises(ResumeError, match="has no ledger"):
        prepare_output(output, overwrite=False, resume=True)


def test_killed_between_finish_and_the_ledgers_end(output: Path, make_spec) -> None:
    interrupt(make_spec(output))
    with closing(open_sink(make_spec(output), resume=True)) as sink:
        sink.finish()

    assert prepare_output(output, overwrite=False, resume=True) is Start.UNREPORTED
    ledger_path(output).unlink()
    assert prepare_output(output, overwrite=False, resume=True) is Start.COMPLETE
    assert {p.name for p in output.parent.iterdir()} == {p.name for p in final_paths(output)}


def test_ledger_of_a_finished_output_never_meets_a_new_one(output: Path, make_spec) -> None:
    interrupt(make_spec(output))
    with closing(open_sink(make_spec(output), resume=True)) as sink:
        sink.finish()

    prepare_output(output, overwrite=True, resume=False)

    assert not ledger_path(output).exists()


def test_killed_between_the_two_renames_of_an_overwritten_zarr(tmp_path: Path, make_spec) -> None:
    spec = make_spec(tmp_path / "out.zarr")
    write_output(spec, 1)
    interrupt(spec, 200)
    spec.path.rename(replaced_path(spec.path))

    assert prepare_output(spec.path, overwrite=False, resume=True) is Start.RESUME
    with closing(open_sink(spec, resume=True)) as sink:
        sink.finish()

    whole = make_spec(tmp_path / "whole.zarr")
    write_output(whole, 200)
    assert tree(spec.path) == tree(whole.path)
    assert not replaced_path(spec.path).exists()


@pytest.mark.parametrize("moved", [1, 2])
def test_killed_between_the_renames_of_two_tiffs(tmp_path: Path, make_spec, moved: int) -> None:
    spec = make_spec(tmp_path / "out.tif")
    interrupt(spec)
    before = tree(partial_path(spec.path))
    for path in final_paths(spec.path)[:moved]:
        (partial_path(spec.path) / path.name).replace(path)

    assert prepare_output(spec.path, overwrite=False, resume=True) is Start.RESUME
    with closing(open_sink(spec, resume=True)) as sink:
        sink.finish()
    ledger_path(spec.path).unlink()

    assert tree(tmp_path) == before


def test_overwrite_never_costs_a_folder_of_data(tmp_path: Path) -> None:
    for name, sentence in (("a.zarr", "is not a Zarr"), ("a.tif", "is a folder, not a TIFF")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
        with pytest.raises(OutputError, match=sentence):
            prepare_output(tmp_path / name, overwrite=True, resume=False)
    (tmp_path / "b.zarr").write_text("mine")
    with pytest.raises(OutputError, match="is not a Zarr"):
        prepare_output(tmp_path / "b.zarr", overwrite=True, resume=False)

    assert (tmp_path / "a.zarr" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "x.tif cannot be written, the disk is full: free space, then run again with --resume"),
        (
            errno.EDQUOT,
            "x.tif cannot be written, the disk quota is used up: free space, then run again with --resume",
        ),
        (
            errno.EACCES,
            "x.tif cannot be written, permission is denied: mend that or choose another folder, then run "
            "again with --resume",
        ),
        (
            errno.EROFS,
            "x.tif cannot be written, the file system is read-only: mend that or choose another folder, then "
            "run again with --resume",
        ),
        (errno.EIO, "x.tif cannot be written (Input/output error): mend that, then run again with --resume"),
    ],
)
def test_faults_of_the_system_are_sentences(code: int, sentence: str) -> None:
    with pytest.raises(OutputError) as caught, translate_os_errors(Path("x.tif"), resumable=True):
        raise OSError(code, os.strerror(code))

    assert str(caught.value) == sentence


def test_faults_before_the_first_block_do_not_speak_of_resuming() -> None:
    with (
        pytest.raises(OutputError, match=r"free space, then run again$"),
        translate_os_errors(Path("x.tif"), resumable=False),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_faults_that_are_not_the_systems_pass() -> None:
    with pytest.raises(ZeroDivisionError), translate_os_errors(Path("x.tif"), resumable=True):
        raise ZeroDivisionError


def test_space_that_is_missing_is_named(tmp_path: Path) -> None:
    require_space(tmp_path / "x.tif", 1)
    with pytest.raises(OutputError, match=r"needs 1,000,000,000.0 GB and its disk has [\d,.]+ GB free"):
        require_space(tmp_path / "x.tif", 10**18)


def test_old_output_outlives_a_move_that_fails(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "who").write_text("old")

    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "gone", tmp_path / "old")

    assert tree(tmp_path) == {"old.replaced/who": b"old"}


def test_move_into_place_clears_what_an_earlier_kill_left(tmp_path: Path) -> None:
    for name in ("new", "old", "old.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)

    move_into_place(tmp_path / "new", tmp_path / "old")

    assert tree(tmp_path) == {"old/who": b"new"}
