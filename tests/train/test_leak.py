"""No method reads a label of the target: there is no key for one, no field, and no file is opened for one."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

import dmn_train.grey
from dmn_runtime.errors import RecipeError
from dmn_train.data import Batch, draw_batch
from dmn_train.loop import train
from dmn_train.material import load_material
from dmn_train.pairs import OtherSections
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.sections import MethodName, TargetSection
from dmn_train.stacks import TargetStack
from dmn_train.views import TargetViews

Placed = Callable[..., PlacedRecipe]
METHODS = get_args(MethodName)
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]")
TEMPTING = ("target_mask.tif", "target-mask.tif", "target_labels.tif", "target.mask.tif", "masks/target.tif")
SHORT = ("loop.steps=2", "loop.validate_every=1", "loop.crop_px=16", "log.tensorboard=true")

opened: list[Path] | None = None


def _note_opened(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None and isinstance(args[0], str | bytes):
        opened.append(Path(args[0].decode() if isinstance(args[0], bytes) else args[0]))


sys.addaudithook(_note_opened)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def target(folder: Path) -> NDArray[np.uint8]:
    """Write target.tif, of the same kind as the source but brighter; return the mask that nobody may see."""
    image, mask = tifffile.imread(folder / "image.tif"), tifffile.imread(folder / "mask.tif")
    tifffile.imwrite(folder / "target.tif", 100 + image[:, ::-1] // 2)
    return np.ascontiguousarray(mask[:, ::-1])


def teacher_of(placed: Placed, folder: Path, method: str) -> tuple[str, ...]:
    """Return what else a method wants of a recipe: a student wants a teacher, which is trained here."""
    if method != "distil":
        return ()
    train(placed(*TARGET, *SHORT, "method.name=adabn"), folder / "teacher")
    return ("method.distil.teacher=teacher",)


def lay_out(folder: Path, mask: NDArray[np.uint8]) -> None:
    (folder / "masks").mkdir(exist_ok=True)
    for name in TEMPTING:
        tifffile.imwrite(folder / name, mask)


@pytest.mark.parametrize("key", ["mask", "valid", "label", "fraction", "labels"])
def test_a_recipe_has_no_key_for_a_targets_labels(placed: Placed, key: str) -> None:
    known = "known here: image, voxel_nm, slices, columns"
    with pytest.raises(RecipeError, match=rf"unknown key data\.target\.0\.{key}; {known}"):
        placed(*TARGET, f"data.target.{key}=target_mask.tif")
    assert set(TargetSection.model_fields) == {"image", "voxel_nm", "slices", "columns"}


def test_neither_stack_nor_batch_has_a_place_for_them(placed: Placed, target: object) -> None:
    assert [field.name for field in fields(TargetStack)] == ["name", "grey", "table", "gap"]
    assert Batch._fields == ("image", "truth", "valid", "target", "views", "plain", "others")
    assert OtherSections._fields == ("image", "truth", "valid", "target")
    assert TargetViews._fields == ("plain", "shown", "pasted")
    recipe = placed(*TARGET, "method.name=adabn")
    batch = draw_batch(load_material(recipe), recipe.recipe, 0)
    assert batch.target is not None
    assert batch.target.shape == batch.image.shape
    assert batch.truth.shape[0] == batch.valid.shape[0] == batch.image.shape[0]


@pytest.mark.parametrize(
    ("method", "rule"),
    [*((method, "last") for method in METHODS), *(("adabn", r) for r in ("held_out", "solidity", "entropy"))],
)
def test_only_the_files_that_the_recipe_names_are_opened(
    placed: Placed,
    folder: Path,
    target: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    rule: str,
) -> None:
    global opened
    lay_out(folder, target)
    wanted = (f"method.name={method}", f"select.rule={rule}", *teacher_of(placed, folder, method))
    recipe = placed(*TARGET, *SHORT, *wanted)
    asked: list[str] = []
    open_volume = dmn_train.grey.open_volume

    def spy(path: str, **keys: Any) -> Any:
        asked.append(path)
        return open_volume(path, **keys)

    monkeypatch.setattr(dmn_train.grey, "open_volume", spy)
    opened = []
    try:
        train(recipe, folder / "run")
    finally:
        seen, opened = opened, None
    assert asked == [str(folder / name) for name in ("image.tif", "mask.tif", "target.tif")]
    data = {path.name for path in seen if path.is_relative_to(folder) and path.suffix == ".tif"}
    assert data == {"image.tif", "mask.tif", "target.tif"}


@pytest.mark.parametrize("method", METHODS)
def test_labels_beside_the_target_change_no_bit(
    placed: Placed, folder: Path, target: NDArray[np.uint8], method: str
) -> None:
    wanted = (f"method.name={method}", "select.rule=solidity", *teacher_of(placed, folder, method))
    recipe = placed(*TARGET, *SHORT, *wanted)
    for name, mask in (("one", target), ("two", 1 - target)):
        lay_out(folder, mask)
        train(recipe, folder / name)
    one, two = (load_file(folder / name / "weights.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (folder / "one" / "curves.csv").read_text() == (folder / "two" / "curves.csv").read_text()
    origins = load_run(folder / "one").facts["data"]
    assert [(o["role"], o["mask_fingerprint"] is None) for o in origins] == [
        ("source", False),
        ("target", True),
    ]


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"source_only"}))
def test_a_target_without_labels_trains_and_its_image_matters(
    placed: Placed, folder: Path, target: NDArray[np.uint8], method: str
) -> None:
    """If the image did not matter, equal bits in the test above would say nothing."""
    wanted = (f"method.name={method}", "augment.strength=0.0", *teacher_of(placed, folder, method))
    recipe = placed(*TARGET, *SHORT, *wanted)
    train(recipe, folder / "one")
    image = tifffile.imread(folder / "target.tif")
    tifffile.imwrite(folder / "target.tif", np.roll(image, 7, axis=1) // 2 + image // 2)
    train(recipe, folder / "two")
    one, two = (load_file(folder / name / "weights.safetensors") for name in ("one", "two"))
    name = "down.0.1.running_mean"
    assert not torch.equal(one[name], two[name])
