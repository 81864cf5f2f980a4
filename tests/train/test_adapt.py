"""Every method that adapts does better on a made-up shift of domain than training on the source alone.

The source: dark discs on a bright ground. The target: other discs under twice the noise and a bent contrast
curve, so that the percentiles of the normalisation do not undo the shift. No crop is augmented: what carries
over is the method. Beating the source alone by 0.2 IoU held for the seeds 0, 1 and 2 of data and training.

All methods hold the target's own BatchNorm statistics, and these alone undo most of that shift. Whether the
loss that a method adds does its work is therefore asked apart: on crops that no step has drawn, against the
same training without that loss.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmn_train.data import Batch, draw_batch
from dmn_train.given import Given
from dmn_train.hardware import make_fabric
from dmn_train.learner import Learner, make_learner, take_step
from dmn_train.loop import train
from dmn_train.material import load_material
from dmn_train.methods.table import make_method
from dmn_train.recipe import PlacedRecipe, parse_recipe
from dmn_train.run import load_run
from dmn_train.start import Start
from dmn_train.validate import THRESHOLD, validation_iou

SHAPE = (6, 96, 96)
VOXEL_NM = [10, 10, 10]
MARGIN = 0.2
# From random weights the first labels are noise: they come in slowly.
SLOWLY = {"ramp": 1.0, "teacher": {"decay": 0.9}, "views": {"block_px": 8}}
SMALL_PARTS = {
    "translation": {"base": 4, "blocks": 1, "stages": [0, 2, 4], "discriminator_base": 4, "locations": 64},
    "memory": {"width": 16, "slots": 2},
}
ADAPTS: dict[str, dict[str, Any]] = {
    "matching": {"name": "source_only", "histogram_matching": 1.0},
    "adabn": {"name": "adabn"},
    "mmd": {"name": "mmd", "mmd": {"weight": 10.0, "pixels": 256}},
    "coral": {"name": "coral", "coral": {"weight": 300.0}},
    "dann": {"name": "dann", "dann": {"weight": 0.1}},
    "ynet": {"name": "ynet", "ynet": {"source_weight": 1.0, "target_weight": 1.0}},
    "mean_teacher": {"name": "mean_teacher", "mean_teacher": SLOWLY},
    "dismemnet": {"name": "dismemnet", "dismemnet": {**SLOWLY, **SMALL_PARTS}},
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


def recipe(folder: Path, labelled: str, method: dict[str, Any], **loop: int) -> PlacedRecipe:
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
            **loop,
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


ADABN: dict[str, Any] = {"name": "adabn"}
UNSEEN = range(1000, 1016)  # steps that no training here reaches
RIDGE = 1e-3


def learned(folder: Path, method: dict[str, Any], **loop: int) -> tuple[Learner, Batch]:
    """Train as the loop does; return what was learned, and crops of both domains that no step has drawn."""
    torch.set_num_threads(1)
    placed = recipe(folder, "source", method, **loop)
    fabric = make_fabric("cpu", "32-true", 1)
    given = Given(placed, folder, fabric, load_material(placed), Start(None, None), None)
    learner = make_learner(given)
    for step in range(placed.recipe.loop.steps):
        take_step(given, learner, draw_batch(given.material, placed.recipe, step), step)
    drawn = zip(*(draw_batch(given.material, placed.recipe, step) for step in UNSEEN), strict=True)
    image, truth, valid, target, *_ = drawn
    return learner, Batch(torch.cat(image), torch.cat(truth), torch.cat(valid), torch.cat(target))


def distance(folder: Path, learner: Learner, crops: Batch, method: dict[str, Any]) -> float:
    """Return what `method` calls the weighted distance of the domains in the features of any network."""
    measuring = make_method(recipe(folder, "source", method).recipe, 0.1)
    with torch.no_grad():
        return float(measuring.losses(learner.objective.network, crops, 1.0)[method["name"]])


@pytest.mark.parametrize("name", ["mmd", "coral"])
def test_the_distance_of_the_domains_becomes_small(shift: Path, name: str) -> None:
    """Below a tenth of what it is without the term for the seeds 0, 1 and 2."""
    with_term, without = (
        distance(shift, *learned(shift, method), ADAPTS[name]) for method in (ADAPTS[name], ADABN)
    )
    assert with_term < 0.2 * without


def test_target_crops_are_reconstructed(shift: Path) -> None:
    """Better than by their mean grey value, and than by a decoder that learned of the source alone."""
    errors = []
    for weight in (10.0, 0.0):
        method = {"name": "ynet", "ynet": {"source_weight": 1.0, "target_weight": weight}}
        learner, crops = learned(shift, method)
        with torch.no_grad():
            losses = learner.objective(crops, 1.0)
        errors.append(float(losses["target_reconstruction"]))
    assert crops.target is not None
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 0.95 * float(crops.target.var())


def told_apart(learner: Learner, crops: Batch) -> float:
    """Return how often a linear discriminant of one half of the crops is right about pixels of the other.

    Ridge regression of -1 (source) and 1 (target) on the bottleneck's features; 0.5 is chance.
    """
    assert crops.target is not None
    network = learner.objective.network.train()
    with torch.no_grad():
        source = network.source_features(crops.image).encoder[-1]
        target = network.target_features(crops.target).encoder[-1]
    fitted, asked = (
        (_pixels(torch.cat([source[part], target[part]])), _sides(source[part], target[part]))
        for part in (slice(0, None, 2), slice(1, None, 2))
    )
    gram = fitted[0].T @ fitted[0]
    ridge = RIDGE * torch.diag(gram.diagonal())
    direction = torch.linalg.solve(gram + ridge, fitted[0].T @ fitted[1])
    return float(((asked[0] @ direction > 0) == (asked[1] > 0)).double().mean())


def _pixels(feature: Tensor) -> Tensor:
    """Return the feature vectors of a batch, nchw, and a constant: (n h w, c + 1) float64."""
    flat = feature.permute(0, 2, 3, 1).flatten(0, 2).double()
    return torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], dim=1)


def _sides(source: Tensor, target: Tensor) -> Tensor:
    """Return -1 for every pixel of `source`, nchw, and 1 for every one of `target`: float64."""
    counts = [feature[:, 0].numel() for feature in (source, target)]
    return torch.cat(
        [torch.full((n,), side, dtype=torch.float64) for n, side in zip(counts, (-1.0, 1.0), strict=True)]
    )


def test_the_domains_are_hard_to_tell_apart_once_the_network_has_misled_a_discriminator(shift: Path) -> None:
    """Seeds 0, 1 and 2 leave a fresh probe less than a third of what it finds without discriminators."""
    dann = {"name": "dann", "dann": {"weight": 10.0, "ramp": False, "encoder_levels": 1}}
    with_term, without = (told_apart(*learned(shift, method, steps=100)) - 0.5 for method in (dann, ADABN))
    assert without > 0.1
    assert abs(with_term) < 0.5 * without
