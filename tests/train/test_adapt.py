"""Every method that adapts does better on a made-up shift of domain than training on the source alone.

The source: dark discs on a bright ground. The target: other discs under twice the noise and a bent contrast
curve, so that the percentiles of the normalisation do not undo the shift. No crop is augmented: what carries
over is the method. Beating the source alone by 0.2 IoU held for the seeds 0, 1 and 2 of data and training.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe, parse_recipe
from dmn_train.run import load_run
from dmn_train.stacks import load_material
from dmn_train.validate import THRESHOLD, validation_iou

SHAPE = (6, 96, 96)
VOXEL_NM = [10, 10, 10]
MARGIN = 0.2
ADAPTS: dict[str, dict[str, Any]] = {
    "matching": {"name": "source_only", "histogram_matching": 1.0},
    "adabn": {"name": "adabn"},
    "mmd": {"name": "mmd", "mmd": {"weight": 10.0, "pixels": 256}},
    "coral": {"name": "coral", "coral": {"weight": 300.0}},
    "dann": {"name": "dann", "dann": {"weight": 0.1}},
    "ynet": {"name": "ynet", "ynet": {"source_weight": 1.0, "target_weight": 1.0}},
}


def discs(seed: int, noise: float, gamma: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return noisy slices with four dark discs each, their grey values bent by `gamma`, and the mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    mask = np.zeros(SHAPE, np.uint8)
    for z in range(SHAPE[0]):
        for _ in range(4):
            y, x = rng.integers(0, SHAPE[1]), rng.integers(0, SHAPE[2])
            mask[z][(rows - y) ** 2 + (columns - x) ** 2 < rng.integers(40, 110)] = 1
    grey = (np.where(mask == 1, 70.0, 160.0) + rng.normal(0, noise, SHAPE)).clip(0, 255)
    return (255 * (grey / 255) ** gamma).astype(np.uint8), mask


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with source.tif, source_mask.tif, target.tif and target_mask.tif."""
    folder = tmp_path_factory.mktemp("shift")
    for name, volume in (("source", discs(1, 15.0, 1.0)), ("target", discs(51, 30.0, 2.5))):
        tifffile.imwrite(folder / f"{name}.tif", volume[0])
        tifffile.imwrite(folder / f"{name}_mask.tif", volume[1])
    return folder


def recipe(folder: Path, labelled: str, method: dict[str, Any]) -> PlacedRecipe:
    source = {"image": f"{labelled}.tif", "mask": f"{labelled}_mask.tif", "voxel_nm": VOXEL_NM}
    values = {
        "name": "shift",
        "network": {"base": 4, "levels": 2},
        "data": {"source": source, "target": {"image": "target.tif", "voxel_nm": VOXEL_NM}},
        "method": method,
        "augment": {"strength": 0.0, "warp": 0.0, "elastic": 0.0},
        "optimiser": {"lr": 1e-2, "warmup_steps": 5, "ema_decay": 0.9},
        "loop": {
            "steps": 60,
            "batch": 4,
            "crop_px": 32,
            "seed": 1,
            "validate_every": 60,
            "precision": "32-true",
            "device": "cpu",
        },
        "log": {"overlays": 0},
    }
    return PlacedRecipe(parse_recipe(values, "shift"), folder)


def target_iou(folder: Path, name: str, method: dict[str, Any]) -> float:
    """Train on the source and return the foreground IoU on the target, whose labels serve this alone."""
    torch.set_num_threads(1)
    train(recipe(folder, "source", method), folder / name)
    scored = recipe(folder, "target", {"name": "source_only"})
    network = load_run(folder / name).network()
    return validation_iou(network, scored.recipe.network.spec, load_material(scored).train, THRESHOLD)


@pytest.fixture(scope="module")
def source_only(shift: Path) -> float:
    return target_iou(shift, "source_only", {"name": "source_only"})


@pytest.mark.parametrize("name", ADAPTS)
def test_a_method_that_adapts_beats_the_source_alone(shift: Path, source_only: float, name: str) -> None:
    assert target_iou(shift, name, ADAPTS[name]) > source_only + MARGIN


def test_the_shift_is_one(shift: Path, source_only: float) -> None:
    """Trained on the target's own labels the same network does well: what is missing is not capacity."""
    torch.set_num_threads(1)
    own = recipe(shift, "target", {"name": "source_only"})
    train(own, shift / "own")
    network = load_run(shift / "own").network()
    best = validation_iou(network, own.recipe.network.spec, load_material(own).train, THRESHOLD)
    assert source_only < 0.3 < 0.7 < best
