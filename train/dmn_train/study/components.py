"""How many pieces a slice shows: the connected components of a mask in 2-D, its Betti number 0."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LEAST_AREA_NM2 = 2000.0
"""Smaller pieces do not count, on neither side: 20 px of 10 nm, a disc of 50 nm across.

A mitochondrion is some hundred nm across, so that nearly every cut through one is larger, while a network's
specks are smaller. In nm^2, so that volumes of other pixels are judged alike.
"""
EIGHT_CONNECTED = np.ones((3, 3), np.bool_)
_ROUNDING = 1e-9  # pixel sizes as 0.1 * 3 must not push an area of exactly the floor below it


def count_components(mask: NDArray[np.bool_], pixel_nm: tuple[float, float]) -> int:
    """Return how many 8-connected components of a yx mask have `LEAST_AREA_NM2` or more.

    Args:
        mask: yx.
        pixel_nm: height and width of a pixel.
    """
    labels, n = ndimage.label(mask, EIGHT_CONNECTED)
    areas_nm2 = np.bincount(labels.ravel(), minlength=n + 1)[1:] * (pixel_nm[0] * pixel_nm[1])
    return int((areas_nm2 >= LEAST_AREA_NM2 * (1 - _ROUNDING)).sum())


def betti0_error(components: NDArray[np.int64]) -> float:
    """Return the mean over slices of |components found - true components|.

    It says whether as many pieces were found, not whether they lie where they should: one that is invented
    and one that is missed in the same slice cancel. PQ and the surface Dice stand beside it for that.

    Args:
        components: int64 (slices, 2), found and true; at least one slice.
    """
    return float(np.abs(components[:, 0] - components[:, 1]).mean())
