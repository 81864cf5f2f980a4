"""A labelled volume, one that a bent contrast and more noise set apart, and budgets of a second."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dmn_export import pipeline
from dmn_export.adapt import execute, made_up, plan
from dmn_export.adapt.defaults import Budget, Drawn, Spent
from dmn_export.adapt.wishes import AdaptWishes
from dmn_export.pipeline import Wishes
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.student import agreement, target_tiles

SHAPE = (6, 96, 96)
TINY = (
    "loop.crop_px=32",
    "loop.batch=4",
    "loop.precision=32-true",
    "loop.device=cpu",
    "augment.strength=0.0",
    "augment.warp=0.0",
    "augment.elastic=0.0",
    "optimiser.lr=1e-2",
    "optimiser.ema_decay=0.9",
    "log.overlays=0",
)


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


def faint_discs(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return slices whose discs are fainter than those of `discs`, in noise as coarse as their edges."""
    _, mask = discs(seed, 0.0, 1.0)
    noise = gaussian_filter(np.random.default_rng(7).normal(0, 1, SHAPE), (0, 1, 1))
    grey = np.where(mask == 1, 95.0, 155.0) + 14.0 * noise / noise.std()
    return grey.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def two_volumes(tmp_path: Path) -> Path:
    """Return a folder with labelled/image.tif and mask.tif, target.tif, and truth.tif that nobody may see."""
    (tmp_path / "labelled").mkdir()
    image, mask = discs(1, 15.0, 1.0)
    tifffile.imwrite(tmp_path / "labelled" / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labelled" / "mask.tif", mask, photometric="minisblack")
    image, mask = discs(51, 30.0, 2.5)
    tifffile.imwrite(tmp_path / "target.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", mask, photometric="minisblack")
    return tmp_path


@pytest.fixture
def faint_target(two_volumes: Path) -> Path:
    """Put a target in place of the other that a network of the source recognises in part."""
    image, mask = faint_discs(51)
    tifffile.imwrite(two_volumes / "target.tif", image, photometric="minisblack")
    tifffile.imwrite(two_volumes / "truth.tif", mask, photometric="minisblack")
    return two_volumes


@pytest.fixture
def wishes(two_volumes: Path) -> AdaptWishes:
    """Return wishes for a tiny network."""
    return AdaptWishes(
        str(two_volumes / "labelled"),
        str(two_volumes / "target.tif"),
        (10.0, 10.0, 10.0),
        (10.0, 10.0, 10.0),
        seed=1,
        class_name="disc",  # for which nothing is made up
        overrides=TINY,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make networks, budgets and packages small."""
    spent = Budget(Spent(60, 4, 1e-2, 5), Spent(60, 4, 1e-2, 5), Spent(40, 4, 1e-2, 5))
    monkeypatch.setattr(plan, "SIZES", {"s8": NetworkSpec(2, 2, 0), "s16": NetworkSpec(4, 2, 0)})
    monkeypatch.setitem(plan.BUDGETS, "standard", spent)
    for stage in ("base", "adapt", "distil"):
        monkeypatch.setitem(made_up.DRAWN, stage, Drawn(2, plan.DRAWN[stage].foreground_share))
    monkeypatch.setattr(made_up, "PHANTOM_SHAPE", (1, 96, 96))
    monkeypatch.setattr(pipeline, "TILE_PX", 64)
    monkeypatch.setattr(execute, "Wishes", partial(Wishes, precisions=("fp32",)))
    monkeypatch.setattr(agreement, "TILES", 4)
    monkeypatch.setattr(target_tiles, "CORE_PX", 64)
