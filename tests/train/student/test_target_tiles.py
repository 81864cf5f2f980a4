"""Plain tiles of the target: inside, unchanged, the same on every call."""

from dataclasses import replace

import numpy as np
import torch

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.stacks import TargetStack
from dmn_train.student.target_tiles import draw_crops, draw_tiles

SPEC = NetworkSpec(base=2, levels=2, context_slices=1)


def stack(shape: tuple[int, int, int]) -> TargetStack:
    grey = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    return TargetStack("t", grey, np.arange(1 << 16, dtype=np.float32))


def test_crops_hold_the_volumes_own_values() -> None:
    one = stack((3, 40, 50))
    crops = draw_crops([one], 0, 16, 20, np.random.default_rng(1))
    assert crops.shape == (20, 1, 16, 16)
    for crop in crops[:, 0].numpy():
        z, y, x = np.unravel_index(int(crop[0, 0]), one.grey.shape)
        assert np.array_equal(crop, one.grey[z, y : y + 16, x : x + 16])


def test_the_core_of_a_tile_lies_inside() -> None:
    one = stack((3, 40, 50))
    tiles = draw_tiles([one], SPEC, 12, np.random.default_rng(1))
    assert tiles.core_px == 40
    assert tiles.images.shape[1:] == (3, 192, 192)
    core = tiles.core(tiles.images[:, 1:2])[:, 0].numpy()
    for image in core:
        z, y, x = np.unravel_index(int(image[0, 0]), one.grey.shape)
        assert np.array_equal(image, one.grey[z, y : y + 40, x : x + 40])


def test_the_same_generator_gives_the_same_tiles_of_all_volumes() -> None:
    low, high = stack((2, 64, 64)), stack((4, 48, 80))
    stacks = [low, replace(high, table=high.table + 1e6)]
    first, again = (draw_crops(stacks, 0, 8, 64, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert set((first[:, 0, 0, 0] >= 1e6).tolist()) == {True, False}
