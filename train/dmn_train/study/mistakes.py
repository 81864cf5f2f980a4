"""What a segmentation of one slice gets wrong, object by object and by area.

An object is an 8-connected component of a mask in the slice with `LEAST_AREA_NM2` or more; mitochondria that
touch are one. A quarter of an area decides, so that a shifted outline is no mistake and a brush is no match:

    missed    true objects of which less than a quarter is predicted
    invented  predicted objects of which less than a quarter is true
    merged    predicted objects that cover a quarter or more of each of several true ones
    split     true objects that hold a quarter or more of each of several predicted ones
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmn_runtime.metrics import IGNORED, POSITIVE
from dmn_train.study.components import EIGHT_CONNECTED, LEAST_AREA_NM2

QUARTER = 0.25
NM2_PER_UM2 = 1e6

Centre = tuple[float, float]
"""Of an object, yx, px."""


@dataclass(frozen=True)
class Mistakes:
    """A prediction of a slice beside the truth.

    Attributes:
        counts: int64 (4,): tp, fp, fn, tn of the pixels that count.
        pixel_um2: area of a pixel.
        objects: true ones.
        missed: centres of the true objects that are missed.
        invented: centres of the predicted objects that are invented.
        merged: how many predicted objects merge.
        split: how many true objects are split.
    """

    counts: NDArray[np.int64]
    pixel_um2: float
    objects: int
    missed: tuple[Centre, ...]
    invented: tuple[Centre, ...]
    merged: int
    split: int

    @property
    def false_positive_um2(self) -> float:
        """Area that is predicted and not true."""
        return float(self.counts[1]) * self.pixel_um2

    @property
    def false_negative_um2(self) -> float:
        """Area that is true and not predicted."""
        return float(self.counts[2]) * self.pixel_um2

    @property
    def true_um2(self) -> float:
        """Area of the truth."""
        return float(self.counts[0] + self.counts[2]) * self.pixel_um2


def mistakes(found: NDArray[np.bool_], classes: NDArray[np.uint8], pixel_nm: tuple[float, float]) -> Mistakes:
    """Compare the prediction of a slice with the truth.

    Args:
        found: predicted foreground, yx.
        classes: NEGATIVE, POSITIVE or IGNORED, yx; ignored pixels belong to no object.
        pixel_nm: height and width of a pixel.
    """
    counted, true = classes != IGNORED, classes == POSITIVE
    found = found & counted
    of_found, of_true = _Objects(found, pixel_nm), _Objects(true, pixel_nm)
    shared = _overlaps(of_true, of_found)
    tp, fp, fn = (found & true).sum(), (found & ~true).sum(), (true & ~found).sum()
    return Mistakes(
        counts=np.array([tp, fp, fn, counted.sum() - tp - fp - fn], np.int64),
        pixel_um2=pixel_nm[0] * pixel_nm[1] / NM2_PER_UM2,
        objects=len(of_true.areas),
        missed=of_true.centres(of_true.shares(found) < QUARTER),
        invented=of_found.centres(of_found.shares(true) < QUARTER),
        merged=int(((shared >= QUARTER * of_true.areas[:, None]).sum(axis=0) > 1).sum()),
        split=int(((shared >= QUARTER * of_found.areas).sum(axis=1) > 1).sum()),
    )


class _Objects:
    """The objects of a mask that are large enough: label yx, 0 elsewhere, 1..n; areas (n,) in px."""

    def __init__(self, mask: NDArray[np.bool_], pixel_nm: tuple[float, float]) -> None:
        labels, n = ndimage.label(mask, EIGHT_CONNECTED)
        areas = np.bincount(labels.ravel(), minlength=n + 1)
        kept = areas * (pixel_nm[0] * pixel_nm[1]) >= LEAST_AREA_NM2
        kept[0] = False
        number = np.where(kept, np.cumsum(kept), 0)
        self.labels: NDArray[np.int64] = number[labels]
        self.areas: NDArray[np.int64] = areas[kept]

    def shares(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the share of each object that lies in a mask."""
        inside = np.bincount(self.labels[mask], minlength=len(self.areas) + 1)[1:]
        return inside / self.areas

    def centres(self, chosen: NDArray[np.bool_]) -> tuple[Centre, ...]:
        """Return the centres of mass of the objects that are marked."""
        numbers = np.flatnonzero(chosen) + 1
        return tuple(
            (float(y), float(x)) for y, x in ndimage.center_of_mass(self.labels > 0, self.labels, numbers)
        )


def _overlaps(some: _Objects, others: _Objects) -> NDArray[np.int64]:
    """Return the pixels that each of some objects shares with each of the others."""
    shape = (len(some.areas) + 1, len(others.areas) + 1)
    pairs = np.bincount((some.labels * shape[1] + others.labels).ravel(), minlength=shape[0] * shape[1])
    return pairs.reshape(shape)[1:, 1:]
