"""Views of unlabelled crops for self-training: the turned ones of a teacher, the disturbed ones of a student.

A teacher sees the plain crop, turned and mirrored, and its predictions are turned back. A student sees the
same crop with other intensities (the strong view), and once more with parts of it hidden or replaced by the
source (the masked view): blocks hidden as in Hoyer et al., MIC, CVPR 2023, a hole (DeVries and Taylor,
Cutout, 2017), a rectangle of the source (Yun et al., CutMix, ICCV 2019) or the source's foreground (Tranheden
et al., DACS, WACV 2021). What is random here comes from the generator that the caller gives.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from dmn_train.sections import ViewsSection

MOST_VIEWS = 8  # flips and quarter turns
HIDDEN_VALUE = 0.0  # the middle of the normalised range: neither dark nor bright
CUT_SHARES = (0.25, 0.75)  # shortest and longest edge of a pasted rectangle, in crops


class TargetViews(NamedTuple):
    """What self-training wants of a batch's target crops beside their strong view.

    Attributes:
        plain: nchw float32, the crops of the strong view, at the same places and equally warped, with their
            intensities as they are.
        shown: n1hw float32, 1 where the masked view shows something, 0 where it is hidden.
        pasted: n1hw float32, 1 where the masked view shows the source's crop of the same number, else 0.
    """

    plain: Tensor
    shown: Tensor
    pasted: Tensor


def draw_views(rng: Generator, section: ViewsSection, plain: Tensor, truth: Tensor) -> TargetViews:
    """Draw what the masked view hides and what it takes from the source.

    Args:
        rng: gives all that is random.
        section: how much of it.
        plain: nchw float32, h = w.
        truth: n1hw float32, the source's.
    """
    count, crop_px = len(plain), plain.shape[-1]
    blocks = _blocks(rng, count, crop_px, section.block_px, section.hidden_share)
    hole = _boxes(rng, count, crop_px, (section.hole_px, section.hole_px))
    bounds = (int(CUT_SHARES[0] * crop_px), int(CUT_SHARES[1] * crop_px))
    cut = _boxes(rng, count, crop_px, bounds)
    pasted = {"none": torch.zeros_like(truth), "cut": _tensor(cut), "class": truth}[section.mix]
    return TargetViews(plain, _tensor(blocks * (1.0 - hole)), pasted)


def _blocks(rng: Generator, count: int, crop_px: int, block_px: int, share: float) -> NDArray[np.float64]:
    """Return n1hw, 0 in a `share` of the blocks of a grid that lies anywhere, else 1.

    MIC's grid begins at the crop's corner; here its place is drawn, so that no pixel is at an edge always.
    """
    blocks = ceil(crop_px / block_px) + 1
    shown = (rng.random((count, 1, blocks, blocks)) >= share).astype(np.float64)
    fine = shown.repeat(block_px, axis=2).repeat(block_px, axis=3)
    starts = rng.integers(block_px, size=(count, 2))
    return np.stack([fine[i, :, y : y + crop_px, x : x + crop_px] for i, (y, x) in enumerate(starts)])


def _boxes(rng: Generator, count: int, crop_px: int, bounds_px: tuple[int, int]) -> NDArray[np.float64]:
    """Return n1hw, 1 in one rectangle a crop whose edges lie within `bounds_px`, else 0."""
    edges = rng.integers(bounds_px[0], bounds_px[1] + 1, size=(count, 2)).clip(max=crop_px)
    places = rng.random((count, 2))
    boxes = np.zeros((count, 1, crop_px, crop_px))
    for box, (height, width), place in zip(boxes, edges, places, strict=True):
        top, left = (int(p * (crop_px - edge + 1)) for p, edge in zip(place, (height, width), strict=True))
        box[:, top : top + height, left : left + width] = 1.0
    return boxes


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def masked_view(strong: Tensor, source: Tensor, views: TargetViews) -> Tensor:
    """Return the strong view, nchw, with the source pasted in and with parts of it hidden."""
    mixed = torch.where(views.pasted > 0.5, source, strong)
    return torch.where(views.shown > 0.5, mixed, HIDDEN_VALUE)


def turned(image: Tensor, view: int) -> Tensor:
    """Return crops, nchw with h = w, as `view` of 0 to 7 shows them; view 0 shows them as they are.

    It turns them view // 2 times by a quarter and, if odd, mirrors them then.
    """
    quarter = torch.rot90(image, view // 2, dims=(2, 3))
    return quarter.flip(3) if view % 2 else quarter


def turned_back(image: Tensor, view: int) -> Tensor:
    """Return what `turned` was given; `image` is what it returned, or a prediction on it."""
    upright = image.flip(3) if view % 2 else image
    return torch.rot90(upright, -(view // 2), dims=(2, 3))
