"""A run to begin from must not have learned from labels of the target."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dmn_export.adapt.init_run import check_init
from dmn_export.adapt.volumes import look_at
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import RunError, UsageError
from dmn_runtime.volume import fingerprint
from dmn_train import file_times
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe, laid_over, parse_recipe
from dmn_train.run import RUN_JSON

from .conftest import TINY

Trained = Callable[..., Path]
ADAPTED = ('data.target={image="target.tif"}', "data.target.voxel_nm=[10,10,10]")


@pytest.fixture
def trained(two_volumes: Path) -> Trained:
    """Return a function that trains two steps on IMAGE and MASK in a folder NAME, and returns that."""

    def make(name: str, image: str, mask: str, *overrides: str) -> Path:
        source = {"image": image, "mask": mask, "voxel_nm": [10.0, 10.0, 10.0]}
        values = {"name": name, "class_name": "disc", "network": {"base": 2, "levels": 2}}
        values |= {"data": {"source": source}, "optimiser": {"warmup_steps": 1}}
        recipe = parse_recipe(laid_over(values, (*TINY, "loop.steps=2", *overrides)), name)
        train(PlacedRecipe(recipe, two_volumes), two_volumes / name)
        return two_volumes / name

    return make


@pytest.fixture
def on_target(trained: Trained) -> Path:
    """Return a run that has the labels which nobody may see."""
    return trained("knows", "target.tif", "truth.tif")


def test_a_run_that_learned_from_the_targets_labels_is_refused(wishes: AdaptWishes, on_target: Path) -> None:
    with pytest.raises(UsageError) as caught:
        look_at(replace(wishes, init=on_target))
    assert str(caught.value) == (
        f"--init {on_target} learned from labels of the target {wishes.target}, and nothing is adapted "
        "without labels that way: begin from a run on the source alone, or leave out --init"
    )


def test_a_run_on_the_source_may_be_begun_from(wishes: AdaptWishes, trained: Trained) -> None:
    init = trained("base", "labelled/image.tif", "labelled/mask.tif")
    assert look_at(replace(wishes, init=init)) == look_at(wishes)


def test_a_copy_of_the_target_is_the_target(wishes: AdaptWishes, on_target: Path, two_volumes: Path) -> None:
    shutil.move(two_volumes / "target.tif", two_volumes / "stack.tif")
    with pytest.raises(UsageError, match="learned from labels of the target"):
        look_at(replace(wishes, init=on_target, target=str(two_volumes / "stack.tif")))


@pytest.mark.parametrize("key", ["init.run=knows", "method.distil.teacher=knows"])
def test_a_run_that_began_from_such_a_run_or_was_taught_by_one_is_refused(
    wishes: AdaptWishes, on_target: Path, trained: Trained, key: str
) -> None:
    taught = () if key.startswith("init") else ("method.name=distil", *ADAPTED)
    second = trained("second", "labelled/image.tif", "labelled/mask.tif", key, *taught)
    said = f"--init {second} comes from {on_target}, which learned from labels"
    with pytest.raises(UsageError, match=re.escape(said)):
        look_at(replace(wishes, init=second))


def test_a_target_that_was_only_adapted_to_is_no_labelled_source(
    wishes: AdaptWishes, trained: Trained
) -> None:
    init = trained("adapted", "labelled/image.tif", "labelled/mask.tif", "method.name=dann", *ADAPTED)
    look_at(replace(wishes, init=init))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make fingerprints hold file times, as those of large volumes do."""
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", 0)
    monkeypatch.setattr(file_times, "WHOLE_BYTES", 0)


@pytest.mark.usefixtures("large")
def test_a_large_copy_of_the_source_is_no_target(wishes: AdaptWishes, two_volumes: Path) -> None:
    image, copy = two_volumes / "labelled" / "image.tif", two_volumes / "copy.tif"
    shutil.copyfile(image, copy)
    os.utime(copy, ns=(1, 1))
    with pytest.raises(UsageError, match="is part of the labelled source, or a copy of it"):
        look_at(replace(wishes, target=str(copy)))
    look_at(wishes)


@pytest.mark.usefixtures("large")
def test_a_large_target_is_known_by_its_place_or_by_its_shape_and_map(
    wishes: AdaptWishes, trained: Trained, two_volumes: Path
) -> None:
    init = trained("knows", "target.tif", "truth.tif")
    target, stack = two_volumes / "target.tif", two_volumes / "stack.tif"
    shutil.copyfile(target, stack)
    os.utime(stack, ns=(1, 1))
    with pytest.raises(UsageError, match="learned from labels of the target"):
        look_at(replace(wishes, init=init, target=str(stack)))
    os.utime(target, ns=(1, 1))
    facts = json.loads((init / RUN_JSON).read_text())
    facts["data"][0]["map"]["low"] += 1.0
    (init / RUN_JSON).write_text(json.dumps(facts))
    look_at(replace(wishes, init=init, target=str(stack)))
    with pytest.raises(UsageError, match="learned from labels of the target"):
        look_at(replace(wishes, init=init))


@pytest.mark.usefixtures("large")
def test_a_large_target_of_another_content_is_another(wishes: AdaptWishes, trained: Trained) -> None:
    init = trained("base", "labelled/image.tif", "labelled/mask.tif")
    check_init(init, wishes.target, look_at(wishes).fingerprints["target"])


def test_a_run_that_is_not_there_or_damaged_is_named(wishes: AdaptWishes, on_target: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        look_at(replace(wishes, init=on_target / "nothing"))
    (on_target / RUN_JSON).write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        look_at(replace(wishes, init=on_target))
