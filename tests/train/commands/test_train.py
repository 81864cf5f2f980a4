"""`dmn train` from the outside."""

from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_runtime.errors import EXIT_USER_ERROR
from dmn_train.run import load_run

PHANTOM = """
name = "made-up"
[network]
base = 2
levels = 2
[data.source.phantom]
count = 2
shape = [1, 48, 48]
[augment]
strength = 0.2
[loop]
steps = 12
batch = 2
crop_px = 32
device = "cpu"
[optimiser]
lr = 1e-2
warmup_steps = 1
[validate]
phantoms = 1
[log]
every = 4
overlays = 1
"""


def test_a_phantom_recipe_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "made-up.toml"
    recipe.write_text(PHANTOM)
    run = tmp_path / "run"
    assert main(["train", str(recipe), "-o", str(run), "--seed", "3", "--set", "loop.steps=8"]) == 0
    told = capsys.readouterr()
    first, last = told.out.splitlines()
    assert first.startswith(f"{run}: 8 steps in ")
    assert "held-out fg IoU 0." in first
    assert last == f"next: dmn export {run} -o made-up.zip"
    assert [line.split()[1] for line in told.err.splitlines()] == ["4/8", "8/8"]
    facts = load_run(run).facts
    assert (facts["seed"], facts["steps"]) == (3, 8)
    assert facts["data"][0]["name"].startswith("phantom 1000 ")


def test_faults_are_one_sentence_and_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, run = str(folder / "recipe.toml"), str(folder / "run")
    assert main(["train", recipe, "-o", run, "--set", "loop.stepz=1"]) == EXIT_USER_ERROR
    sentence = f"dmn train: {recipe}: unknown key loop.stepz; did you mean loop.steps?\n"
    assert capsys.readouterr().err == sentence
    (folder / "image.tif").unlink()
    assert main(["train", recipe, "-o", run]) == EXIT_USER_ERROR
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path(run).exists()
