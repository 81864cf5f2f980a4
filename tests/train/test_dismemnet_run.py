"""Whole runs of the joint objective: mean_teacher without its parts, and resumed at every stage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch
from safetensors.torch import load_file

from dmn_train.loop import Progress, train
from dmn_train.recipe import PlacedRecipe

Placed = Callable[..., PlacedRecipe]
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "loop.crop_px=16")
NAME = "method.name=dismemnet"
OFF = (
    "method.dismemnet.translation.kind=none",
    "method.dismemnet.memory.kind=none",
    "method.dismemnet.distillation.weight=0.0",
)
STAGED = (
    *TARGET,
    NAME,
    "init.run=start",
    "loop.steps=8",
    "loop.validate_every=8",
    "loop.batch=2",
    "select.target_slices=1",
    "loop.checkpoint_every=1",
    "method.dismemnet.stages.bank=0.25",  # translation in steps 0 and 1, bank in 2 and 3, then joint
    "method.dismemnet.translation.blocks=1",
    "method.dismemnet.translation.stages=[0,2,4]",
    "method.dismemnet.translation.base=4",
    "method.dismemnet.translation.every=2",
    "method.dismemnet.labels.most_foreground=0.3",
)


@pytest.fixture(autouse=True)
def one_thread(folder: Path) -> None:
    torch.set_num_threads(1)
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)


def same(one: Path, two: Path) -> bool:
    a, b = (load_file(run / "weights.safetensors") for run in (one, two))
    curves = [(run / "curves.csv").read_text() for run in (one, two)]
    return curves[0] == curves[1] and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("align", ["none", "dann"])
def test_without_its_parts_a_run_is_one_of_mean_teacher(placed: Placed, tmp_path: Path, align: str) -> None:
    train(placed(*TARGET, "method.name=mean_teacher", f"method.mean_teacher.align={align}"), tmp_path / "one")
    train(placed(*TARGET, NAME, *OFF, f"method.dismemnet.align={align}"), tmp_path / "two")
    assert same(tmp_path / "one", tmp_path / "two")


def test_a_run_resumes_to_the_same_bits_at_every_stage(placed: Placed, folder: Path, tmp_path: Path) -> None:
    train(placed("loop.steps=2"), folder / "start")
    recipe = placed(*STAGED)
    train(recipe, tmp_path / "whole")
    for killed_at in (2, 4, 6):

        def die(told: Progress, at: int = killed_at) -> None:
            if told.done == at:
                raise RuntimeError("killed")

        run = tmp_path / str(killed_at)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, run, tell=die)
        train(recipe, run, resume=True)
        assert json.loads((run / "run.json").read_text())["resumed_at"] == killed_at - 1
        assert same(tmp_path / "whole", run), killed_at
