"""Who may write into a run folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.errors import OutputError, RunError
from dmn_train.folder import check_folder, close_folder, open_folder
from dmn_train.recipe import PlacedRecipe

Placed = Callable[..., PlacedRecipe]


def test_an_unfinished_run_goes_on_only_with_the_same_recipe_and_data(placed: Placed, tmp_path: Path) -> None:
    run = tmp_path / "run"
    check_folder(run, placed(), resume=False, overwrite=False)
    open_folder(run, placed(), ["f"], resume=False)
    check_folder(run, placed(), resume=True, overwrite=False)
    open_folder(run, placed(), ["f"], resume=True)
    (run / "checkpoint.safetensors").write_bytes(b"x")
    open_folder(run, placed(), ["f"], resume=True)
    with pytest.raises(
        RunError, match=r"another recipe \(loop\.seed was 0 and is 1\): resume with the same one"
    ):
        check_folder(run, placed("loop.seed=1"), resume=True, overwrite=False)
    with pytest.raises(RunError, match="was started with other data"):
        open_folder(run, placed(), ["g"], resume=True)


def test_a_finished_run_is_kept_unless_overwritten(placed: Placed, tmp_path: Path) -> None:
    run = tmp_path / "run"
    open_folder(run, placed(), [], resume=False)
    (run / "checkpoint.safetensors").write_bytes(b"x")
    close_folder(run, {"a": 1})
    assert [p.name for p in run.iterdir()] == ["run.json"]
    with pytest.raises(RunError, match="holds a finished run"):
        check_folder(run, placed(), resume=True, overwrite=False)
    with pytest.raises(OutputError, match="is not empty: choose another -o"):
        check_folder(run, placed(), resume=False, overwrite=False)
    check_folder(run, placed(), resume=False, overwrite=True)
    assert [p.name for p in run.iterdir()] == ["run.json"]
    open_folder(run, placed(), [], resume=False)
    assert [p.name for p in run.iterdir()] == ["started.json"]


def test_what_is_no_run_is_never_deleted(placed: Placed, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="holds something that is no run"):
        check_folder(other, placed(), resume=False, overwrite=True)
    assert (other / "thesis.txt").exists()
    with pytest.raises(OutputError, match="is a file, wanted a folder"):
        check_folder(other / "thesis.txt", placed(), resume=False, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        open_folder(other / "thesis.txt" / "run", placed(), [], resume=False)


def test_nothing_to_resume(placed: Placed, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no unfinished run: start one without --resume"):
        check_folder(tmp_path / "absent", placed(), resume=True, overwrite=False)
    assert not (tmp_path / "absent").exists()
