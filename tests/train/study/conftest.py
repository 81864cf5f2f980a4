"""A study of two protocols over the made-up volume of tests/train/conftest.py."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.study.placed import PlacedStudy, load_study
from dmn_train.study.sections import TestSection
from dmn_train.study.test_volume import TestVolume

STUDY = """
name = "tiny"
title = "A tiny study"
intro = "What is asked."
footnote = "What is left open."
seeds = [0, 1]
recipe = "base.toml"
baseline = "strong"

[[protocol]]
name = "A"
words = "all slices"
published = { other = 0.5 }
published_words = "Somebody, elsewhere."
[[protocol.set.data.target]]
image = "image.tif"
voxel_nm = [5.0, 5.0, 5.0]
[protocol.test]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]

[[protocol]]
name = "B"
[protocol.set.data]
target = [{ image = "image.tif", voxel_nm = [5.0, 5.0, 5.0], slices = [0, 3] }]
[protocol.test]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]
slices = [1, 4]
columns = [64, 128]

[[arm]]
name = "strong"
label = "source only"
shared = true

[[arm]]
name = "other"
label = "something else"
init = "strong"
set = { method = { histogram_matching = 0.5 }, loop = { steps = 4 } }
"""

FINETUNE = """
[finetune]
protocol = "B"
arms = ["strong", "other"]
fractions = [0.5, 1.0]
[finetune.set.data.source]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]
columns = [0, 64]
[finetune.set.loop]
steps = 2
"""

OTHER_SOURCE = """
[[source]]
name = "vnc"
[source.set]
loop = { steps = 3, batch = 2 }
[source.set.data.source]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]
slices = [0, 4]

[[protocol]]
name = "back"
source = "vnc"
[protocol.set.data]
target = [{ image = "source.tif", voxel_nm = [5.0, 5.0, 5.0] }]
[protocol.test]
image = "source.tif"
mask = "labels.tif"
voxel_nm = [5.0, 5.0, 5.0]
"""

STUDENT = """
[[arm]]
name = "student"
teacher = "other"
set = { method.name = "distil", loop = { steps = 2 } }
"""


@pytest.fixture
def study(folder: Path) -> Callable[..., PlacedStudy]:
    """Return a function that writes a study beside its recipe, with changes (old, new), and loads it.

    Its source is source.tif, a copy of image.tif: labels of what is tested may not be trained on.
    """
    for name, copied in (("image.tif", "source.tif"), ("mask.tif", "labels.tif")):
        shutil.copy(folder / name, folder / copied)
    recipe = (folder / "recipe.toml").read_text()
    (folder / "base.toml").write_text(
        recipe.replace("image.tif", "source.tif").replace("mask.tif", "labels.tif")
    )

    def write(*changes: tuple[str, str], text: str = STUDY + FINETUNE) -> PlacedStudy:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / "study.toml").write_text(text)
        return load_study(folder / "study.toml")

    return write


@pytest.fixture
def run_folder(folder: Path, placed: Callable[..., PlacedRecipe]) -> Path:
    """Return the folder of a run of two steps."""
    train(placed("loop.steps=2"), folder / "run")
    return folder / "run"


@pytest.fixture
def volume(folder: Path) -> Callable[..., TestVolume]:
    """Return a function that makes a test volume of the made-up one, with changes to its keys."""

    def make(**keys: Any) -> TestVolume:
        plain: dict[str, Any] = {"image": "image.tif", "mask": "mask.tif", "voxel_nm": (5.0, 5.0, 5.0)}
        return TestVolume(TestSection(**plain | keys), folder)

    return make
