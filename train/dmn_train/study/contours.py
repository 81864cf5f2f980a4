"""Normalised surface Dice of 2-D contours: how much of the outlines of two masks runs close together.

Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, Journal of
Medical Internet Research 2021 (preprint 2018), surface Dice similarity coefficient; named NSD in Reinke et
al., Understanding metric-related pitfalls in image analysis validation, Nature Methods 2024:

    NSD = (|S_p within tau of S_t| + |S_t within tau of S_p|) / (|S_p| + |S_t|)

with the contours S_p of the prediction and S_t of the truth. Where we depart: slices are judged one by one
(EM sections are far thicker than pixels), and a contour is a set of pixels that are counted, not a curve of
which the length is measured.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

TOLERANCE_NM = 20.0
"""Two pixels of 10 nm, about the thickness of a mitochondrion's double membrane.

Nikolov et al. set the tolerance to what experts differ by. Masks of EM are mostly drawn once, so it is set to
what experts need not agree on: whether the outline runs along the outer or the inner side of the membrane.
"""
_ROUNDING = 1e-9  # a distance of exactly the tolerance is within it, whatever 3 * 6.67 rounds to


def contour(mask: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that have a 4-neighbour outside of it; only counted pixels are looked at.

    So neither the image's edge nor that of what counts makes a contour.

    Args:
        mask: yx.
        counted: yx.
    """
    inside, outside = mask & counted, ~mask & counted
    found = np.zeros_like(mask)
    found[:-1] |= inside[:-1] & outside[1:]
    found[1:] |= inside[1:] & outside[:-1]
    found[:, :-1] |= inside[:, :-1] & outside[:, 1:]
    found[:, 1:] |= inside[:, 1:] & outside[:, :-1]
    return found


def compare_contours(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    pixel_nm: tuple[float, float],
) -> NDArray[np.int64]:
    """Count the contour pixels of two masks, and those within `TOLERANCE_NM` of the other's.

    Distances run from centre to centre of pixels.

    Args:
        prediction: yx.
        truth: yx.
        counted: yx; other pixels belong to no contour.
        pixel_nm: height and width of a pixel.

    Returns:
        int64 (4,): predicted, of which close; true, of which close.
    """
    found, true = contour(prediction, counted), contour(truth, counted)
    close = (_close(found, true, pixel_nm), _close(true, found, pixel_nm))
    return np.array([found.sum(), close[0], true.sum(), close[1]], np.int64)


def _close(some: NDArray[np.bool_], others: NDArray[np.bool_], pixel_nm: tuple[float, float]) -> int:
    """Count the pixels of a contour that have one of the other within the tolerance."""
    # A tree of the few contour pixels takes a tenth of the time of a distance transform of the slice.
    places_nm, reach_nm = np.argwhere(some) * pixel_nm, TOLERANCE_NM * (1 + _ROUNDING)
    nearest_nm, _ = KDTree(np.argwhere(others) * pixel_nm).query(places_nm, distance_upper_bound=reach_nm)
    return int(np.isfinite(nearest_nm).sum())  # infinite beyond the bound


def surface_dice(contours: NDArray[np.int64]) -> float | None:
    """Return the mean surface Dice of the slices in which either side has a contour; None without one.

    A slice in which one side alone has one scores 0.

    Args:
        contours: int64 (slices, 4) of `compare_contours`.
    """
    found, close_found, true, close_true = contours[(contours[:, 0] + contours[:, 2]) > 0].T
    return float(((close_found + close_true) / (found + true)).mean()) if len(found) else None
