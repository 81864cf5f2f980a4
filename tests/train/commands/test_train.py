"""`dmn train` from the outside."""

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from PIL import Image
from safetensors import SafetensorError

import dmn_train.alarms
import dmn_train.checkpoint
import dmn_train.finish
from dmn_runtime.cli import main
from dmn_runtime.errors import EXIT_USER_ERROR
from dmn_train.commands import told
from dmn_train.loop import train
from dmn_train.run import RUN_JSON, load_run

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
    assert "held-out source fg IoU 0." in first
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


def test_a_self_training_that_collapses_is_told_and_written_down(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dmn_train.alarms, "MOST_OF_SOURCE", 1e-9)
    monkeypatch.setattr(dmn_train.alarms, "LEAST_CONFIDENT", 0.0)
    overrides = ("method.name=mean_teacher", "data.target.image=image.tif", "data.target.voxel_nm=[5,5,5]")
    set_ = [word for override in overrides for word in ("--set", override)]
    assert main(["train", str(folder / "recipe.toml"), "-o", str(folder / "run"), *set_]) == 0
    (told,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: "))
    assert load_run(folder / "run").facts["alarms"] == [told.removeprefix("warning: ")]
    assert main(["train", str(folder / "recipe.toml"), "-o", str(folder / "plain")]) == 0
    assert load_run(folder / "plain").facts["alarms"] == []
    assert "warning" not in capsys.readouterr().err


def refuse_tensors(*_: object) -> NoReturn:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def refuse_picture(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_run_json(path: Path, *args: Any, **kwargs: Any) -> int:
    if path.name == "run.json.partial":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return path.write_bytes(args[0].encode())


@pytest.mark.parametrize(
    ("place", "name", "refusal", "file"),
    [
        (dmn_train.checkpoint, "save_file", refuse_tensors, "checkpoint.safetensors"),
        (dmn_train.finish, "save_file", refuse_tensors, "weights.safetensors"),
        (Image.Image, "save", refuse_picture, "overlays/0-image-z0000.png"),
        (Path, "write_text", refuse_run_json, "run.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_run_that_met_a_full_disk_says_so_and_goes_on_afterwards(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: object,
    name: str,
    refusal: object,
    file: str,
) -> None:
    recipe, run = str(folder / "recipe.toml"), folder / "run"
    with monkeypatch.context() as full:
        full.setattr(place, name, refusal)
        assert main(["train", recipe, "-o", str(run)]) == EXIT_USER_ERROR
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"dmn train: {run / file} cannot be written (")
    assert "No space left on device" in last
    assert last.endswith(
        "): free space or lift the limit, then run again, with --resume if the run had begun"
    )
    assert not list(run.rglob("*.partial"))
    assert main(["train", recipe, "-o", str(run), "--resume"]) == 0
    assert load_run(run).facts["steps"] == 6


def test_a_stop_in_the_last_step_leaves_a_finished_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tmp_path / "made-up.toml", tmp_path / "run"
    recipe.write_text(PHANTOM)

    def stopped(*args: Any, **keys: Any) -> NoReturn:
        train(*args, **keys)
        facts = json.loads((run / RUN_JSON).read_text())
        (run / RUN_JSON).write_text(json.dumps(facts | {"alarms": ["it collapsed"]}))
        raise KeyboardInterrupt

    monkeypatch.setattr(told, "train", stopped)
    assert main(["train", str(recipe), "-o", str(run), "--set", "loop.steps=2"]) == 130
    said = capsys.readouterr().err.splitlines()
    assert f"{run}: the run is finished, the stop came in its last step" in said
    assert "warning: it collapsed" in said
