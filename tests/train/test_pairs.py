"""Pairs of sections: the same place at the right distance, changed alike, refused where there are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmn_runtime.errors import RecipeError
from dmn_train import augment
from dmn_train.data import Batch, draw_batch
from dmn_train.material import Material, load_material
from dmn_train.methods.base import others_of, target_of
from dmn_train.pairs import draw_partner, gap_slices, partnered
from dmn_train.recipe import PlacedRecipe

Placed = Callable[..., PlacedRecipe]
SHAPE = (20, 48, 64)
STILL = ("augment.flip=false", "augment.warp=0.0", "augment.elastic=0.0", "augment.strength=0.0")
PAIRS = (
    "method.name=isc",
    "working_voxel_nm=5.0",
    "data.target.image=target.tif",
    "data.target.voxel_nm=[20,5,5]",
    "loop.batch=16",
    "loop.crop_px=16",
)
"""Four slices of the source are as far apart as two neighbours of the target."""
ONE_PIECE = ("validate.slices=[19, 20]",)
"""All slices that are trained on in one piece, so that each has a partner."""


@pytest.fixture(autouse=True)
def counted(folder: Path) -> NDArray[np.uint16]:
    """Write a source and a target whose grey values are the voxels' numbers, every eighth column a label."""
    numbers = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    tifffile.imwrite(folder / "image.tif", numbers)
    tifffile.imwrite(folder / "target.tif", numbers)
    tifffile.imwrite(folder / "mask.tif", (numbers % 8 == 0).astype(np.uint8))
    return numbers


def drawn(recipe: PlacedRecipe, step: int = 0) -> tuple[Material, Batch]:
    material = load_material(recipe)
    return material, draw_batch(material, recipe.recipe, step)


def places(crops: Tensor, material: Material, role: str) -> NDArray[np.intp]:
    """Return the voxels, (zyx, crop, y, x), that the last channel of crops of grey values was cut from."""
    (origin,) = (origin for origin in material.origins if origin.role == role)
    low, high = origin.map.low, origin.map.high
    grey = low + (crops[:, -1].double().numpy() + 1.0) / 2.0 * (high - low)
    return np.array(np.unravel_index(np.rint(grey).astype(np.intp), SHAPE))


@pytest.mark.parametrize("context", [0, 1])
def test_both_sections_show_the_same_place_at_the_distance_of_the_domains(
    placed: Placed, context: int
) -> None:
    recipe = placed(*PAIRS, *STILL, f"network.context_slices={context}")
    material, batch = drawn(recipe)
    other = others_of(batch)
    for role, first, second, gap in (
        ("source", batch.image, other.image, 4),
        ("target", target_of(batch), other.target, 1),
    ):
        assert first.shape == second.shape == (16, 2 * context + 1, 16, 16)
        one, two = (places(crops, material, role) for crops in (first, second))
        # Intensities are cut off at the ends of the stack, and there windows of context are reflected.
        inside = (np.minimum(one[0], two[0]).min(axis=(1, 2)) > 1) & (
            np.maximum(one[0], two[0]).max(axis=(1, 2)) < 18
        )
        rise, *shift = (two - one)[:, inside]
        assert {int(z) for z in rise.ravel()} == {gap, -gap}
        assert not np.any(shift)


def test_each_section_has_labels_of_its_own(placed: Placed, folder: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[::8] = 1
    mask[4::8, :, ::2] = 255
    tifffile.imwrite(folder / "mask.tif", mask)
    material, batch = drawn(placed(*PAIRS, *STILL, *ONE_PIECE))
    other = others_of(batch)
    slices = [places(crops, material, "source")[0][:, 8, 8] for crops in (batch.image, other.image)]
    for z, truth, valid in zip(slices, (batch.truth, other.truth), (batch.valid, other.valid), strict=True):
        assert truth.mean(dim=(1, 2, 3)).tolist() == [float(at % 8 == 0) for at in z]
        assert valid.mean(dim=(1, 2, 3)).tolist() == [0.5 if at % 8 == 4 else 1.0 for at in z]


@pytest.fixture
def alike(folder: Path) -> None:
    """Write a source and a target all slices of which are the same."""
    image = np.random.default_rng(3).integers(60, 200, SHAPE[1:]).astype(np.uint8)
    other = (image.astype(np.uint16) ** 2 // 200).astype(np.uint8)  # of another histogram
    for name, section in (("image.tif", image), ("target.tif", other)):
        tifffile.imwrite(folder / name, np.stack([section] * SHAPE[0]))
    tifffile.imwrite(folder / "mask.tif", np.stack([(image > 120).astype(np.uint8)] * SHAPE[0]))


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("context", [0, 1])
def test_both_sections_are_changed_alike(
    placed: Placed, monkeypatch: pytest.MonkeyPatch, context: int
) -> None:
    recipe = placed(*PAIRS, f"network.context_slices={context}", "method.histogram_matching=0.5")
    _, noisy = drawn(recipe)
    other = others_of(noisy)
    assert torch.equal(noisy.truth, other.truth)
    # Noise is of each section's own.
    assert not torch.equal(noisy.image, other.image)
    assert not torch.equal(target_of(noisy), other.target)
    monkeypatch.setattr(augment.torch, "randn", lambda shape, generator: torch.zeros(shape))  # type: ignore[attr-defined]
    _, batch = drawn(recipe)
    other = others_of(batch)
    assert torch.equal(batch.image, other.image)
    assert torch.equal(target_of(batch), other.target)


def test_the_first_sections_are_the_crops_of_other_methods(placed: Placed) -> None:
    _, pairs = drawn(placed(*PAIRS, *ONE_PIECE), step=3)
    _, crops = drawn(placed(*PAIRS, *ONE_PIECE, "method.name=dann"), step=3)
    assert crops.others is None
    for name in ("image", "truth", "valid", "target"):
        assert torch.equal(getattr(pairs, name), getattr(crops, name))


def test_pairs_depend_on_seed_step_and_device_alone(placed: Placed) -> None:
    recipe = placed(*PAIRS)
    material = load_material(recipe)

    def others(step: int, rank: int = 0) -> tuple[Tensor, ...]:
        return tuple(others_of(draw_batch(material, recipe.recipe, step, rank)))

    first = others(0)
    assert all(torch.equal(one, two) for one, two in zip(first, others(0), strict=True))
    assert not torch.equal(first[0], others(1)[0])
    assert not torch.equal(first[3], others(0, rank=1)[3])


def test_both_sections_are_of_labelled_slices(placed: Placed) -> None:
    recipe = placed(*PAIRS, *STILL, "data.source.fraction=0.5")
    material, batch = drawn(recipe)
    assert all(len(partnered(stack.slices, 4)) == len(stack.slices) for stack in material.train)
    assert batch.valid.all()
    assert others_of(batch).valid.all()


def test_a_distance_can_be_set(placed: Placed) -> None:
    material = load_material(placed(*PAIRS, "method.isc.gap_nm=45.0", "validate.slices=[19, 20]"))
    assert [stack.gap for stack in (*material.train, *material.target)] == [9, 2]


def test_without_a_distance_it_is_the_thickest_slice_of_both_domains(placed: Placed) -> None:
    thin = placed(*PAIRS, "data.source.voxel_nm=[50,5,5]", "data.target.voxel_nm=[5,5,5]")
    material = load_material(thin)
    assert {stack.gap for stack in material.train} == {1}
    assert [stack.gap for stack in material.target] == [10]


MADE_UP = (
    "data.extra.count=2",
    "data.extra.shape=[4, 128, 128]",
    "data.extra.voxel_nm=10.0",
    "loop.extra_share=0.5",
)


def test_made_up_volumes_have_a_distance_of_their_own(placed: Placed) -> None:
    material, batch = drawn(placed(*PAIRS, *MADE_UP))
    assert [stack.gap for stack in material.extra] == [2, 2]
    assert others_of(batch).image.shape == batch.image.shape


def test_the_domain_is_that_without_pairs(placed: Placed) -> None:
    pairs, crops = (load_material(placed(*PAIRS, *other)) for other in ((), ("method.name=dann",)))
    assert pairs.domain == crops.domain


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ("method.isc.gap_nm=100.0",),
            "method isc wants slices that are 20 apart (100 nm), but image.tif has 5 in a row: use more of "
            "them, or set method.isc.gap_nm (it is 100) to less",
        ),
        (
            ("data.target.slices=[3, 4]",),
            "method isc wants slices that are 1 apart (20 nm), but target.tif has 1 in a row: use more of "
            "them, or set method.isc.gap_nm (it is 20) to less",
        ),
        (
            (*MADE_UP, "data.extra.voxel_nm=5.0"),
            "method isc wants slices that are 4 apart (20 nm), but phantom 1000 fibsem has 4 in a row: use "
            "more of them, or set method.isc.gap_nm (it is 20) to less",
        ),
        (
            ("data.source.fraction=0.06",),
            "method isc wants foreground in labelled slices that are 4 apart, but image.tif has none: use "
            "more labelled slices, or set method.isc.gap_nm (it is 20) to another distance",
        ),
    ],
)
def test_volumes_without_pairs_are_refused(placed: Placed, overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_material(placed(*PAIRS, *overrides))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("gap_nm", "slice_nm", "slices"),
    [(50, 5, 10), (50, 50, 1), (5, 50, 1), (50, 30, 2), (44, 30, 1), (45, 30, 2)],
)
def test_the_nearest_count_of_slices_and_one_at_least(gap_nm: float, slice_nm: float, slices: int) -> None:
    assert gap_slices(gap_nm, slice_nm) == slices


def test_slices_without_a_partner_are_left_out() -> None:
    np.testing.assert_array_equal(partnered(np.arange(5), 3), [0, 1, 3, 4])
    np.testing.assert_array_equal(partnered(np.array([0, 2, 5, 7, 8]), 3), [2, 5, 8])
    np.testing.assert_array_equal(partnered(np.arange(4), 0), np.arange(4))


def test_a_partner_lies_above_or_below() -> None:
    rng = np.random.default_rng(0)
    assert {draw_partner(rng, 3, 2, np.arange(6)) for _ in range(20)} == {1, 5}
    assert {draw_partner(rng, 1, 2, np.arange(6)) for _ in range(20)} == {3}
