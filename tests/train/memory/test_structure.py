"""Structure classes against maps drawn by hand and SciPy's distance transform."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from dmn_train.memory.options import StructureSpec
from dmn_train.memory.structure import NO_CLASS, cell_classes, foreground_classes, structure_classes

NAMES = {"i": 0, "b": 1, "n": 2, "f": 3, ".": NO_CLASS}


def grid(*rows: str) -> Tensor:
    return torch.tensor([[[[NAMES[letter] for letter in row] for row in rows]]])


def mask(*rows: str) -> Tensor:
    return torch.tensor([[[[float(letter == "#") for letter in row] for row in rows]]])


def test_four_classes_of_a_square_that_touches_the_border() -> None:
    truth = mask(
        "###......",
        "###......",
        "###......",
        ".........",
        ".........",
        ".........",
    )
    expected = grid(
        "iibnnffff",
        "iibnnffff",
        "bbbnnffff",
        "nnnnfffff",
        "nnnffffff",
        "fffffffff",
    )
    spec = StructureSpec(band_px=1, near_px=2)
    # The pixel one down and one right of the corner is sqrt(2) away, the next ones sqrt(5) and sqrt(8).
    assert structure_classes(truth, torch.ones_like(truth), spec).tolist() == expected.tolist()


def test_unlabelled_pixels_have_no_class_and_are_no_outline() -> None:
    truth, known = mask("###......"), torch.ones(1, 1, 1, 9)
    known[..., 3:5] = 0
    spec = StructureSpec(band_px=1, near_px=3)
    assert structure_classes(truth, known, spec).tolist() == grid("iii..nfff").tolist()


def test_two_classes_are_the_mask() -> None:
    truth, known = mask("##..#"), torch.tensor([[[[1.0, 1, 1, 0, 0]]]])
    classes = structure_classes(truth, known, StructureSpec(classes=2))
    assert classes.tolist() == [[[[0, 0, 1, -1, -1]]]]
    assert classes.dtype == torch.int64


@pytest.mark.parametrize(("value", "expected"), [(0.0, 3), (1.0, 0)])
def test_a_crop_without_an_outline_is_far_or_interior(value: float, expected: int) -> None:
    truth = torch.full((1, 1, 5, 7), value)
    assert (structure_classes(truth, torch.ones_like(truth), StructureSpec()) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_classes_are_those_of_the_exact_distance(seed: int, band: int, near: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 1, 5, 5)) < 0.3
    truth = np.repeat(np.repeat(coarse, 5, 2), 5, 3)[..., :21, :23]
    got = structure_classes(
        torch.from_numpy(truth.astype(np.float32)),
        torch.ones(truth.shape),
        StructureSpec(band_px=band, near_px=near),
    )
    for crop, one in enumerate(truth[:, 0]):
        inside = distance_transform_edt(one) if not one.all() else np.full(one.shape, np.inf)
        outside = distance_transform_edt(~one) if one.any() else np.full(one.shape, np.inf)
        expected = np.where(one, np.where(inside <= band, 1, 0), np.where(outside <= near, 2, 3))
        assert np.array_equal(got[crop, 0].numpy(), expected)


def test_a_cell_has_the_class_of_most_of_its_pixels() -> None:
    pixels = grid(
        "bbnn..ff.",
        "binni.ff.",
        "bbff..i..",
    )
    # Two of each are a draw, which the first class wins; one known pixel of four is too few; the rest is cut.
    assert cell_classes(pixels, 2, 4).tolist() == grid("bn.f").tolist()
    half = grid("in", "..")
    assert cell_classes(half, 2, 4).tolist() == [[[[0]]]]


def test_half_of_the_classes_are_foreground() -> None:
    assert (foreground_classes(2), foreground_classes(4)) == (1, 2)
