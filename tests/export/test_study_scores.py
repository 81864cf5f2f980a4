"""The study's scores are those of the way a package goes: export, inference, evaluation."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.cli import main
from dmn_runtime.evaluation import evaluate
from dmn_runtime.metrics import iou
from dmn_runtime.phantom import make_phantom
from dmn_runtime.volume.open import open_volume
from dmn_train.loop import train
from dmn_train.recipe import load_recipe
from dmn_train.run import load_run
from dmn_train.study.score import score_run
from dmn_train.study.sections import TestSection
from dmn_train.study.test_volume import TestVolume

RECIPE = """
name = "discs"
working_voxel_nm = {working}

[network]
base = 4
levels = 2
context_slices = {context}

[data.source.phantom]
count = 2
shape = [4, 96, 96]

[loop]
steps = 60
batch = 4
crop_px = 64
precision = "32-true"
device = "cpu"

[optimiser]
lr = 1e-2
warmup_steps = 4

[log]
overlays = 0
"""


@pytest.mark.parametrize(("working", "context"), [(10.0, 0), (8.0, 1)])
def test_a_score_is_that_of_export_infer_and_evaluate(tmp_path: Path, working: float, context: int) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(working=working, context=context))
    train(load_recipe(tmp_path / "recipe.toml"), tmp_path / "run")
    # Odd edges: neither a multiple of the stride nor of the working grid.
    phantom = make_phantom((5, 173, 211), seed=7, voxel_nm=6.0)
    names = {name: str(tmp_path / f"{name}.tif") for name in ("image", "mask", "package", "found")}
    tifffile.imwrite(names["image"], phantom.image, photometric="minisblack")
    tifffile.imwrite(names["mask"], phantom.mask, photometric="minisblack")
    package, found = str(tmp_path / "discs.zip"), str(tmp_path / "found.ome.zarr")
    assert main(["export", str(tmp_path / "run"), "-o", package, "--precision", "fp32"]) == 0
    engine = ("--engine", "cpu")  # not the fastest of the day
    assert main(["infer", package, names["image"], "-o", found, "--voxel-nm", "6,6,6", *engine]) == 0
    with open_volume(found) as prediction, open_volume(names["mask"]) as mask:
        real = evaluate(prediction, mask, objects=False)

    section = TestSection(image="image.tif", mask="mask.tif", voxel_nm=(6.0, 6.0, 6.0))
    score = score_run(load_run(tmp_path / "run"), TestVolume(section, tmp_path))
    assert 0.05 < real.volume.iou < 0.95  # or the comparison would say nothing
    assert abs(float(iou(score.per_slice.sum(axis=0))) - real.volume.iou) <= 0.002
    assert abs(float(iou(score.per_slice).mean()) - real.slices.iou_mean) <= 0.002
    assert score.per_slice.sum() == np.prod(phantom.mask.shape)
    assert score.average_precision is not None
    assert real.average_precision is not None
    assert abs(score.average_precision - real.average_precision) <= 0.002
