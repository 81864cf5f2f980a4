"""A teacher: a finished run that was adapted to target.tif, beside the recipe it was made from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch

from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.student import agreement, target_tiles

ADAPTED = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "method.name=adabn")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def teacher(placed: Callable[..., PlacedRecipe], folder: Path) -> Path:
    """Return the run folder of an adapted network of base 4."""
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)
    train(placed(*ADAPTED, "network.base=4", "loop.steps=3"), folder / "teacher")
    return folder / "teacher"


@pytest.fixture(autouse=True)
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at 3 small tiles instead of 24 large ones."""
    monkeypatch.setattr(agreement, "TILES", 3)
    monkeypatch.setattr(target_tiles, "CORE_PX", 64)
