"""The held-out score and the pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.stacks import Stack
from dmn_train.validate import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    outline,
    predict_slice,
    validation_iou,
    write_overlays,
)

SPEC = NetworkSpec(base=1, levels=2, context_slices=0)


class DarkIsForeground(nn.Module):
    """Logit = -20 x the intensity."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(-20.0))

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image


def stack(mask: list[list[int]], grey: list[list[int]]) -> Stack:
    labels = np.array([mask], np.uint8)
    table = (np.arange(256) / 127.5 - 1).astype(np.float32)
    return Stack(
        "a b.tif", np.array([grey], np.uint8), labels, table, (), np.flatnonzero(labels == 1), np.array([0])
    )


@pytest.mark.parametrize("shape", [(5, 9), (6, 9), (1, 12)])
def test_the_prediction_lies_where_the_slice_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (1, *shape), dtype=np.uint8)
    one = stack(np.zeros(shape, int).tolist(), grey[0].tolist())
    found = predict_slice(DarkIsForeground(), SPEC, one, 0)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(20 * one.table[grey[0]].astype(float))), atol=1e-6)


def test_iou_pools_stacks_and_leaves_out_what_is_not_labelled() -> None:
    one = stack([[1, 1, 0, 255]], [[0, 200, 0, 0]])  # found: 1 0 1 -
    two = stack([[1, 1, 0, 0]], [[0, 0, 200, 200]])  # found: 1 1 0 0
    assert validation_iou(DarkIsForeground(), SPEC, [one, two], 0.5) == 3 / 5
    empty = stack([[0, 0]], [[200, 200]])
    assert validation_iou(DarkIsForeground(), SPEC, [empty], 0.5) == 1.0


def test_an_outline_is_one_pixel_wide_and_inside() -> None:
    mask = np.zeros((5, 6), bool)
    mask[0:4, 1:5] = True
    expected = np.zeros((5, 6), bool)
    expected[0:4, [1, 4]] = True
    expected[3, 1:5] = True
    np.testing.assert_array_equal(outline(mask), expected)


def test_overlays_show_truth_and_prediction(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), int)
    mask[1:4, 1:4] = 1
    grey = np.full((8, 8), 200)
    grey[5:7, 5:7] = 0
    write_overlays(tmp_path / "o", DarkIsForeground(), SPEC, [stack(mask.tolist(), grey.tolist())], 0.5, 1)
    (path,) = (tmp_path / "o").iterdir()
    assert path.name == "0-a-b-z0000.png"
    picture = np.asarray(Image.open(path))
    assert tuple(picture[1, 1]) == TRUTH_COLOUR
    assert tuple(picture[5, 5]) == PREDICTION_COLOUR
    assert tuple(picture[0, 7]) == (200, 200, 200)
