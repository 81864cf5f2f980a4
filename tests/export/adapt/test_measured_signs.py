"""The signs of quality are those of the network, the threshold and the volumes that are packed: in NumPy."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from dmn_export.adapt.quality import Signs, measure_signs
from dmn_train.loop import train
from dmn_train.recipe import load_recipe
from dmn_train.run import Run, load_run
from dmn_train.student import agreement, target_tiles

RECIPE = """
name = "discs"
working_voxel_nm = 10.0

[network]
base = 4
levels = 2

[data.source]
image = "labelled/image.tif"
mask = "labelled/mask.tif"
voxel_nm = [10.0, 10.0, 10.0]

[data.target]
image = "target.tif"
voxel_nm = [10.0, 10.0, 10.0]

[method]
name = "mean_teacher"

[loop]
steps = 60
batch = 4
crop_px = 32
precision = "32-true"
device = "cpu"

[optimiser]
lr = 1e-2
warmup_steps = 5

[log]
overlays = 0
"""
MOST = 0.09
BOUNDED = (f"method.mean_teacher.labels.most_foreground={MOST}", f"select.most_foreground={MOST}")


@pytest.fixture
def runs(two_volumes: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Run]:
    """Return an adapted run whose labels and threshold a bound held back, and one without a bound."""
    monkeypatch.setattr(agreement, "TILES", 3)
    monkeypatch.setattr(target_tiles, "CORE_PX", 64)
    recipe = two_volumes / "recipe.toml"
    recipe.write_text(RECIPE)
    train(load_recipe(recipe, BOUNDED), two_volumes / "bounded")
    train(load_recipe(recipe, ("method.name=adabn", "loop.seed=3")), two_volumes / "free")
    return load_run(two_volumes / "bounded"), load_run(two_volumes / "free")


def turned(image: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, bool]]:
    for quarters in range(4):
        for flipped in (False, True):
            view = torch.rot90(image, quarters, (2, 3))
            yield (view.flip(3) if flipped else view), quarters, flipped


@torch.no_grad()
def says(run: Run, views: int) -> NDArray[np.float64]:
    """Return the mean probability over the first or all eight views of the tiles' cores, nyx."""
    tiles = agreement.target_tiles(run.placed)
    network, told = run.network(), []
    for view, quarters, flipped in list(turned(tiles.images))[:views]:
        seen = network(view).sigmoid()
        seen = seen.flip(3) if flipped else seen
        told.append(tiles.core(torch.rot90(seen, -quarters, (2, 3)))[:, 0].double().numpy())
    return np.mean(told, axis=0)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def solidity(masks: NDArray[np.bool_]) -> float:
    objects = [one for mask in masks for one in regionprops(label(mask, connectivity=2))]
    return float(np.mean([one.solidity for one in objects if one.area >= 50]))


def entropy(p: NDArray[np.float64]) -> float:
    def bits(q: NDArray[np.float64]) -> NDArray[np.float64]:
        q = q.clip(1e-7, 1 - 1e-7)
        return np.asarray(-q * np.log(q) - (1 - q) * np.log(1 - q))

    return float(bits(p).mean() / bits(p.mean()[None])[0])


def test_a_student_is_measured_at_its_threshold_and_judged_at_its_teachers(
    two_volumes: Path, runs: tuple[Run, Run]
) -> None:
    bounded, free = runs
    student = replace(free, threshold=0.8)
    signs = measure_signs(student, bounded)
    probability = says(student, 1)
    masks = probability >= 0.8
    assert not np.array_equal(masks, probability >= 0.5)
    assert bounded.threshold > 0.5
    assert signs.judged_by_teacher
    assert signs.agreement == pytest.approx(iou(masks, says(bounded, 8) >= bounded.threshold), abs=1e-4)
    assert signs.target_share == pytest.approx(masks.mean())
    assert signs.entropy == pytest.approx(entropy(probability), abs=1e-4)
    assert signs.solidity == pytest.approx(solidity(masks), abs=1e-6)
    truth = tifffile.imread(two_volumes / "labelled" / "mask.tif") > 0
    assert signs.source_share == pytest.approx(truth.mean())
    assert signs.source_solidity == pytest.approx(solidity(truth), abs=1e-6)
    assert signs.tiles == 3


def test_what_the_bound_held_back_is_known(runs: tuple[Run, Run]) -> None:
    bounded, free = runs

    def held(signs: Signs) -> tuple[float | None, bool, bool, bool]:
        return signs.bound, signs.raised, signs.cut, signs.judged_by_teacher

    assert held(measure_signs(bounded, bounded)) == (MOST, True, True, False)
    assert held(measure_signs(free, free)) == (None, False, False, False)
    assert held(measure_signs(free, bounded)) == (None, False, True, True)
    assert held(measure_signs(replace(bounded, threshold=0.5), free)) == (MOST, False, False, True)
