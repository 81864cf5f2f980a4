"""Which structure each pixel of a mask belongs to, and each cell of a coarser grid.

After the README of DiSMemNet ("structure-aware prototypes"); that the structures are bands of distance to the
outline is our reading.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.boundary import squared_distance
from dmn_train.memory.options import StructureSpec

INTERIOR, BAND, NEAR, FAR = range(4)
FOREGROUND, BACKGROUND = range(2)
NO_CLASS = -1
LEAST_KNOWN = 0.5  # share of a cell's pixels that have a class, for the cell to have one


def foreground_classes(classes: int) -> int:
    """Return how many of the 2 or 4 classes are foreground: they are the first ones."""
    return classes // 2


def structure_classes(mask: Tensor, known: Tensor, spec: StructureSpec) -> Tensor:
    """Return the class of every pixel.

    With 4 classes: INTERIOR, BAND (foreground at most `band_px` from the background), NEAR (background at
    most `near_px` from the foreground), FAR. With 2: FOREGROUND, BACKGROUND. Distances are between the
    centres of pixels, in the plane, to known pixels alone: neither the border of the crop nor that to
    unlabelled pixels is an outline.

    Labels that a teacher makes up are known everywhere; pixels it is unsure of are outlines all the same. Let
    them have no class afterwards (`masked_fill` with NO_CLASS), or the band moves off the outline.

    Args:
        mask: n1hw, foreground where above 0.5.
        known: n1hw, above 0 where the mask is labelled.
        spec: of the classes.

    Returns:
        n1hw int64 on the device of `mask`; NO_CLASS where nothing is known.
    """
    foreground, labelled = mask > 0.5, known > 0
    if spec.classes == 2:
        classes = torch.where(foreground, FOREGROUND, BACKGROUND)
    else:
        band = squared_distance(labelled & ~foreground, reach_px=spec.band_px) <= spec.band_px**2
        near = squared_distance(labelled & foreground, reach_px=spec.near_px) <= spec.near_px**2
        classes = torch.where(foreground, torch.where(band, BAND, INTERIOR), torch.where(near, NEAR, FAR))
    return classes.masked_fill(~labelled, NO_CLASS)


def cell_classes(pixels: Tensor, factor: int, classes: int) -> Tensor:
    """Return the class that most pixels of each cell of `factor` x `factor` have; of equals, the first.

    Args:
        pixels: n1hw int64, NO_CLASS to classes - 1.
        factor: edge of a cell, px; what is left over at the right and the bottom is dropped.
        classes: 2 or 4.

    Returns:
        n1(h / factor)(w / factor) int64; NO_CLASS where less than half of the pixels have a class.
    """
    each = torch.stack([pixels[:, 0] == number for number in range(classes)], dim=1).float()
    shares = functional.avg_pool2d(each, factor)
    most = shares.argmax(dim=1, keepdim=True)
    return most.masked_fill(shares.sum(dim=1, keepdim=True) < LEAST_KNOWN, NO_CLASS)
