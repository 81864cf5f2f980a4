"""Batches: pure functions of seed and step, around foreground, with labels in place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError
from dmn_train.data import cut_window, draw_batch
from dmn_train.material import load_material
from dmn_train.recipe import PlacedRecipe

Placed = Callable[..., PlacedRecipe]
STILL = ("augment.flip=false", "augment.warp=0.0", "augment.elastic=0.0", "augment.strength=0.0")


def test_a_batch_has_the_shape_and_types_that_networks_want(placed: Placed) -> None:
    recipe = placed("network.context_slices=1")
    batch = draw_batch(load_material(recipe), recipe.recipe, 0)
    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.truth.shape == batch.valid.shape == (4, 1, 32, 32)
    assert {t.dtype for t in (batch.image, batch.truth, batch.valid)} == {torch.float32}
    assert set(batch.truth.unique().tolist()) <= {0.0, 1.0}
    assert float(batch.image.abs().max()) <= 2.0


def test_a_batch_depends_on_seed_and_step_and_on_nothing_before(placed: Placed) -> None:
    recipe = placed()
    stacks = load_material(recipe)
    forward = [draw_batch(stacks, recipe.recipe, step) for step in range(4)]
    torch.manual_seed(99)
    np.random.default_rng(1).random()
    backward = [draw_batch(stacks, recipe.recipe, step) for step in (3, 2, 1, 0)][::-1]
    for one, two in zip(forward, backward, strict=True):
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.truth, two.truth)
        assert torch.equal(one.valid, two.valid)
    other = draw_batch(stacks, placed("loop.seed=1").recipe, 0)
    assert not torch.equal(forward[0].image, other.image)
    assert not torch.equal(forward[0].image, forward[1].image)


def test_unchanged_crops_are_pieces_of_the_volume(placed: Placed) -> None:
    recipe = placed(*STILL)
    batch = draw_batch(load_material(recipe), recipe.recipe, 0)
    dark = batch.image[batch.truth == 1].mean()
    bright = batch.image[batch.truth == 0].mean()
    assert dark < -0.3 < 0.3 < bright


def test_most_crops_hold_foreground(placed: Placed) -> None:
    recipe = placed("loop.batch=8")
    material = load_material(recipe)
    (stack,) = material.train
    mask = np.zeros_like(stack.mask)
    mask[2, 20:26, 30:36] = 1  # one small object in 5 slices of 48 x 64
    rare = replace(material, train=(replace(stack, mask=mask, foreground=np.flatnonzero(mask)),))
    held = [
        (draw_batch(rare, recipe.recipe, step).truth.amax(dim=(1, 2, 3)) > 0).float().mean().item()
        for step in range(20)
    ]
    assert np.mean(held) >= 0.5


EXTRA = ("data.extra.count=2", "data.extra.shape=[2, 128, 128]", "data.extra.voxel_nm=5.0")


def test_made_up_volumes_have_their_share_of_the_crops(placed: Placed) -> None:
    plain, mixed = placed("loop.batch=5"), placed("loop.batch=5", "loop.extra_share=0.3", *EXTRA)
    material = load_material(mixed)
    assert len(material.extra) == 2
    assert [origin.role for origin in material.origins] == ["source", "extra", "extra"]
    assert any(len(stack.foreground) for stack in material.extra)
    (of_source,) = material.train
    blank = replace(of_source, table=np.full_like(of_source.table, 2.0), matched=())
    marked = replace(material, train=(blank,))
    still = placed("loop.batch=5", "loop.extra_share=0.3", *EXTRA, *STILL)
    batch = draw_batch(marked, still.recipe, 0)
    assert [bool((crop == 2.0).all()) for crop in batch.image] == [True, True, True, False, False]
    assert load_material(plain).extra == ()


def test_made_up_volumes_without_foreground_are_refused(placed: Placed) -> None:
    small = ("data.extra.count=1", "data.extra.shape=[1, 8, 8]", "loop.extra_share=0.3")
    with pytest.raises(RecipeError, match="hold no foreground: make them larger"):
        load_material(placed(*small))


def test_made_up_volumes_say_nothing_of_the_domain(placed: Placed) -> None:
    mixed = placed("loop.extra_share=0.5", *EXTRA)
    assert load_material(mixed).domain == load_material(placed()).domain


def test_unlabelled_voxels_are_not_valid(placed: Placed) -> None:
    recipe = placed(*STILL)
    material = load_material(recipe)
    material.train[0].mask[:, :, 32:] = 255
    batch = draw_batch(material, recipe.recipe, 0)
    assert 0.0 < batch.valid.mean() < 1.0
    assert batch.truth[batch.valid == 0].max() == 0.0


def test_matched_tables_are_blended_in(placed: Placed) -> None:
    recipe = placed(
        *STILL, "data.target.image=image.tif", "data.target.voxel_nm=[5,5,5]", "method.histogram_matching=1.0"
    )
    material = load_material(recipe)
    (stack,) = material.train

    def drawn(matched: NDArray[np.float32]) -> torch.Tensor:
        changed = replace(material, train=(replace(stack, matched=(matched,)),))
        return draw_batch(changed, recipe.recipe, 0).image

    moved = drawn(stack.table + 0.5) - drawn(stack.table)
    shifts = moved.amax(dim=(1, 2, 3))
    torch.testing.assert_close(moved.amin(dim=(1, 2, 3)), shifts, atol=1e-5, rtol=0)
    assert ((shifts > 0) & (shifts < 0.5)).all()
    assert len(shifts.unique()) == len(shifts)


@pytest.mark.parametrize(
    ("centre", "context", "expected"),
    [
        ((1, 2, 2), 0, [[[17, 18], [21, 22]]]),
        ((0, 0, 3), 0, [[[6, 7], [2, 3]]]),
        ((1, 1, 1), 1, [[[0, 1], [4, 5]], [[12, 13], [16, 17]], [[0, 1], [4, 5]]]),
    ],
)
def test_windows_are_centred_and_reflected(
    centre: tuple[int, int, int], context: int, expected: list[list[list[int]]]
) -> None:
    voxels = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(cut_window(voxels, centre, context, 2, 2), expected)


TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "method.name=adabn")


@pytest.fixture
def target(folder: Path) -> None:
    """Write a target that is brighter than the source anywhere."""
    tifffile.imwrite(folder / "target.tif", 200 + tifffile.imread(folder / "image.tif") // 8)


@pytest.mark.usefixtures("target")
def test_the_sources_crops_do_not_depend_on_the_target(placed: Placed) -> None:
    alone, adapted = placed(), placed(*TARGET)
    for step in range(3):
        one = draw_batch(load_material(alone), alone.recipe, step)
        two = draw_batch(load_material(adapted), adapted.recipe, step)
        assert one.target is None
        assert two.target is not None
        for mine, theirs in zip(one[:3], two[:3], strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.usefixtures("target")
def test_target_crops_depend_on_seed_step_and_device_alone(placed: Placed) -> None:
    recipe = placed(*TARGET)
    material = load_material(recipe)

    def drawn(step: int, rank: int = 0) -> torch.Tensor:
        target = draw_batch(material, recipe.recipe, step, rank).target
        assert target is not None
        return target

    first = drawn(0)
    assert torch.equal(first, drawn(0))
    assert not torch.equal(first, drawn(1))
    assert not torch.equal(first, drawn(0, rank=1))
    batches = [draw_batch(material, recipe.recipe, 0, rank).image for rank in (0, 1)]
    assert not torch.equal(*batches)


@pytest.mark.usefixtures("target")
def test_unchanged_target_crops_are_pieces_of_all_target_volumes(placed: Placed) -> None:
    recipe = placed(
        *STILL,
        "method.name=adabn",
        "loop.batch=32",
        "loop.crop_px=16",
        'data.target=[{image="target.tif",voxel_nm=[5,5,5]},{image="image.tif",voxel_nm=[5,5,5]}]',
    )
    material = load_material(recipe)
    batch = draw_batch(material, recipe.recipe, 0)
    assert batch.target is not None
    pieces = []
    for stack in material.target:
        normalised = torch.from_numpy(stack.table[stack.grey])
        pieces.append(normalised.unfold(1, 16, 1).unfold(2, 16, 1))
    held = [sum(_is_piece(crop, piece) for crop in batch.target[:, 0]) for piece in pieces]
    assert sum(held) == 32
    assert min(held) >= 8


def _is_piece(crop: torch.Tensor, pieces: torch.Tensor) -> bool:
    return bool(((pieces - crop).abs().amax(dim=(3, 4)) < 1e-3).any())


@pytest.mark.usefixtures("target")
def test_target_crops_have_a_strength_of_their_own(placed: Placed) -> None:
    still = placed(*TARGET, *STILL, "augment.strength=1.0", "augment.target_strength=0.0")
    plain = placed(*TARGET, *STILL)
    strong = placed(*TARGET, *STILL, "augment.target_strength=1.0")
    batches = [draw_batch(load_material(r), r.recipe, 0) for r in (still, plain, strong)]
    assert batches[0].target is not None
    assert batches[2].target is not None
    assert torch.equal(batches[0].target, batches[1].target)
    assert not torch.equal(batches[0].image, batches[1].image)
    assert torch.equal(batches[1].image, batches[2].image)
    assert not torch.equal(batches[1].target, batches[2].target)


DRAWN = {
    (0, 0): ([0.611894, 0.676075, 0.205356, 0.250705], 502, [0.532295, 0.681697, -0.122511, -0.482077]),
    (7, 1): ([-0.550918, 0.38842, 0.089782, -0.819114], 649, [1.170265, 0.354298, 0.82491, 0.391241]),
}
"""By step and device: a pixel of each source crop, foreground pixels, a pixel of each target crop."""


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("method", ["source_only", "adabn", "dann", "isc", "mean_teacher", "dismemnet"])
@pytest.mark.parametrize("at", DRAWN)
def test_what_is_drawn_is_what_has_always_been_drawn(
    placed: Placed, method: str, at: tuple[int, int]
) -> None:
    """Published runs can be trained again: a new draw must have a stream of its own."""
    recipe = placed(*TARGET, f"method.name={method}")
    batch = draw_batch(load_material(recipe), recipe.recipe, *at)
    pixels, foreground, target_pixels = DRAWN[at]
    torch.testing.assert_close(batch.image[:, 0, 3, 5], torch.tensor(pixels), atol=1e-4, rtol=0)
    assert batch.truth.sum() == foreground
    if method != "source_only":
        assert batch.target is not None
        torch.testing.assert_close(batch.target[:, 0, 3, 5], torch.tensor(target_pixels), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("target")
def test_the_plain_view_is_the_strong_one_with_its_intensities_left_alone(placed: Placed) -> None:
    teaches = ("method.name=mean_teacher", "augment.target_strength")
    strong, still = (placed(*TARGET, teaches[0], f"{teaches[1]}={strength}") for strength in (1.0, 0.0))
    batches = [draw_batch(load_material(recipe), recipe.recipe, 3) for recipe in (strong, still)]
    assert batches[0].views is not None
    assert batches[0].target is not None
    assert batches[1].target is not None
    assert torch.equal(batches[0].views.plain, batches[1].target)
    assert not torch.equal(batches[0].views.plain, batches[0].target)


@pytest.mark.usefixtures("target")
def test_only_a_method_that_wants_views_has_them(placed: Placed) -> None:
    recipe = placed(*TARGET, "method.name=dann")
    assert draw_batch(load_material(recipe), recipe.recipe, 0).views is None


@pytest.mark.usefixtures("target")
def test_views_depend_on_seed_step_and_device_alone(placed: Placed) -> None:
    recipe = placed(*TARGET, "method.name=mean_teacher", "method.mean_teacher.views.block_px=4")
    material = load_material(recipe)

    def shown(step: int, rank: int = 0) -> torch.Tensor:
        views = draw_batch(material, recipe.recipe, step, rank).views
        assert views is not None
        return views.shown

    assert torch.equal(shown(0), shown(0))
    assert not torch.equal(shown(0), shown(1))
    assert not torch.equal(shown(0), shown(0, rank=1))


DISMEMNET = (*TARGET, "method.name=dismemnet", "method.histogram_matching=0.5")


@pytest.mark.usefixtures("target")
def test_plain_crops_are_the_sources_with_no_intensity_changed(placed: Placed) -> None:
    gated = placed(*DISMEMNET)
    still = placed(*TARGET, "method.name=dann", "augment.strength=0.0")
    batch, expected = (draw_batch(load_material(recipe), recipe.recipe, 3) for recipe in (gated, still))
    assert batch.plain is not None
    assert torch.equal(batch.plain, expected.image)
    assert not torch.equal(batch.plain, batch.image)


@pytest.mark.usefixtures("target")
def test_plain_crops_can_have_the_histogram_of_each_target(placed: Placed) -> None:
    recipe = placed(*DISMEMNET, "method.dismemnet.translation.kind=histogram", "loop.batch=8")
    material = load_material(recipe)
    (stack,) = material.train
    marks = (np.full_like(stack.table, -1.5), np.full_like(stack.table, 1.5))
    marked = replace(material, train=(replace(stack, matched=marks),))
    plain = draw_batch(marked, recipe.recipe, 0).plain
    assert plain is not None
    darkest, brightest = plain.amin(dim=(1, 2, 3)), plain.amax(dim=(1, 2, 3))
    torch.testing.assert_close(darkest, brightest)
    assert {round(value, 3) for value in darkest.tolist()} == {-1.5, 1.5}


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", ["none", "histogram", "gated"])
def test_no_other_crop_depends_on_the_plain_ones(placed: Placed, kind: str) -> None:
    recipe = placed(*DISMEMNET, f"method.dismemnet.translation.kind={kind}")
    other = placed(*TARGET, "method.name=mean_teacher", "method.histogram_matching=0.5")
    batch, expected = (draw_batch(load_material(one), one.recipe, 1) for one in (recipe, other))
    assert (batch.plain is None) == (kind == "none")
    assert expected.plain is None
    assert torch.equal(batch.image, expected.image)
    assert batch.target is not None
    assert expected.target is not None
    assert torch.equal(batch.target, expected.target)
    assert batch.views is not None
    assert expected.views is not None
    assert all(torch.equal(one, two) for one, two in zip(batch.views, expected.views, strict=True))


def test_crops_lie_on_labelled_slices(placed: Placed) -> None:
    recipe = placed("data.source.fraction=0.2", "loop.batch=8", *STILL)
    material = load_material(recipe)
    (stack,) = material.train
    assert len(stack.slices) == 1
    for step in range(4):
        assert (draw_batch(material, recipe.recipe, step).valid.mean(dim=(1, 2, 3)) > 0.99).all()
