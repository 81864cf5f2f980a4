"""`dmn distill` from the outside."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch

from dmn_runtime.cli import main
from dmn_runtime.errors import EXIT_USER_ERROR
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.student import agreement, target_tiles

TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]")


@pytest.fixture
def teacher(placed: Callable[..., PlacedRecipe], folder: Path) -> Path:
    torch.set_num_threads(1)
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)
    train(placed(*TARGET, "method.name=adabn", "network={name='s16'}", "loop.steps=1"), folder / "teacher")
    return folder / "teacher"


def test_a_student_from_the_command_line(
    teacher: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "TILES", 3)
    monkeypatch.setattr(target_tiles, "CORE_PX", 64)
    run = teacher.parent / "student"
    words = ["distill", str(teacher), "--student", "s8", "-o", str(run), "--steps", "3"]
    assert main([*words, "--set", "loop.batch=2", "--set", "method.distil.recalibrate_crops=8"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{run}: 3 steps in ")
    assert told[1] == "multiply-adds per pixel: teacher s16 47,392, student s8 11,888 (25.1%)"
    assert told[2].startswith("agreement with the teacher: IoU ")
    assert "(no label is read: " in told[2]
    assert told[3] == f"next: dmn export {run} -o tiny-s8.zip"
    facts = load_run(run).facts
    assert (facts["method"], facts["steps"], facts["network"]["base"]) == ("distil", 3, 8)


def test_faults_are_one_sentence_and_nothing_is_left(
    teacher: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(folder / "student")
    for words, sentence in (
        ([str(folder / "nothing")], "is no run folder"),
        ([str(teacher), "--set", "loop.stepz=1"], "did you mean loop.steps?"),
        ([str(teacher), "--init", str(teacher)], "has network"),
    ):
        assert main(["distill", *words, "--student", "s8", "-o", run]) == EXIT_USER_ERROR
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("dmn distill: ")
        assert sentence in line
        assert not Path(run).exists()
