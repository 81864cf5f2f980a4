"""Batches: pure functions of seed and step, around foreground, with labels in place."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dmn_train.data import cut_window, draw_batch
from dmn_train.recipe import PlacedRecipe
from dmn_train.stacks import load_material

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
