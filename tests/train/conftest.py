"""A made-up labelled volume on disk and a recipe over it, small enough to train on in a second."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dmn_train.recipe import PlacedRecipe, load_recipe

RECIPE = """
name = "tiny"
working_voxel_nm = 10.0

[network]
base = 2
levels = 2

[data.source]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]

[loop]
steps = 6
batch = 4
crop_px = 32
checkpoint_every = 2
validate_every = 3
precision = "32-true"
device = "cpu"

[optimiser]
lr = 1e-2
warmup_steps = 2

[validate]
slices = [5, 6]

[log]
every = 1
overlays = 1
"""


def dark_discs(shape: tuple[int, int, int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a noisy bright volume with dark discs, and their mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    mask = np.zeros(shape, np.uint8)
    for z in range(shape[0]):
        for _ in range(6):
            y, x = rng.integers(0, shape[1]), rng.integers(0, shape[2])
            mask[z][(rows - y) ** 2 + (columns - x) ** 2 < 100] = 1
    image = np.where(mask == 1, 70, 160) + rng.normal(0, 15, shape)
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with image.tif, mask.tif and recipe.toml."""
    image, mask = dark_discs((6, 96, 128), seed=5)
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def placed(folder: Path) -> Callable[..., PlacedRecipe]:
    """Return a function that loads the recipe of `folder` with overrides ("loop.steps=2")."""
    return lambda *overrides: load_recipe(folder / "recipe.toml", overrides)
