"""Voxel metrics from counts: what a volume must be reduced to, and the numbers made of it.

Counts are int64 arrays whose last axis is (tp, fp, fn, tn); see docs/evaluation.md for every definition.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.volume.base import Voxels

NEGATIVE, POSITIVE, IGNORED = 0, 1, 2
"""Classes of truth that `class_histograms` counts."""


@dataclass(frozen=True)
class VoxelScores:
    """Scores of one set of voxels, 0 to 1 (mcc: -1 to 1); None where a score is undefined (a division by 0).

    IoU and Dice of an empty prediction and an empty truth are 1.
    """

    iou: float
    dice: float
    precision: float | None
    recall: float | None
    mcc: float | None


def class_histograms(values: Voxels, truth: NDArray[np.uint8], bins: int) -> NDArray[np.int64]:
    """Count the predicted values of each class of truth.

    Args:
        values: predicted grey values, unsigned integers below `bins`, any shape.
        truth: `NEGATIVE`, `POSITIVE` or `IGNORED`, same shape.
        bins: number of grey values.

    Returns:
        int64 (2, bins): row `NEGATIVE` and row `POSITIVE`.
    """
    # One pass: class and value make one number. int32 is enough for 3 x 65536 and halves the traffic.
    code = truth.astype(np.int32).ravel() * bins + values.ravel()
    return np.bincount(code, minlength=3 * bins).reshape(3, bins)[:2]


def confusion(histograms: NDArray[np.int64], foreground: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (tp, fp, fn, tn) when the values marked in `foreground` are predicted as foreground.

    Args:
        histograms: int64 (2, bins) of `class_histograms`.
        foreground: bool (bins,).
    """
    negative, positive = histograms
    tp, fp = positive[foreground].sum(), negative[foreground].sum()
    return np.array([tp, fp, positive.sum() - tp, negative.sum() - fp], np.int64)


def iou(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tp / (tp + fp + fn) of counts (..., 4) as float64 (...); empty against empty is 1."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    union = tp + fp + fn
    return np.where(union == 0, 1.0, tp / np.maximum(union, 1))


def scores(counts: NDArray[np.int64]) -> VoxelScores:
    """Return every thresholded score of one set of counts (4,)."""
    # Python's integers: the four-fold product of MCC leaves 64 bits behind at a few million voxels.
    tp, fp, fn, tn = (int(count) for count in counts)
    return VoxelScores(
        iou=_share(tp, tp + fp + fn, 1.0),
        dice=_share(2 * tp, 2 * tp + fp + fn, 1.0),
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        mcc=_mcc(tp, fp, fn, tn),
    )


def _mcc(tp: int, fp: int, fn: int, tn: int) -> float | None:
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return None if product == 0 else (tp * tn - fp * fn) / sqrt(product)


def _ratio(part: int, whole: int) -> float | None:
    return None if whole == 0 else part / whole


def _share(part: int, whole: int, empty: float) -> float:
    return empty if whole == 0 else part / whole


def average_precision(histograms: NDArray[np.int64]) -> float | None:
    """Return the average precision over all voxels, exact for quantised probabilities.

    AP = sum over thresholds of (R_n - R_(n-1)) * P_n, the thresholds being the grey values from the highest
    down, without interpolation (the definition of scikit-learn's `average_precision_score`).

    Args:
        histograms: int64 (2, bins) of `class_histograms`.

    Returns:
        0 to 1; None if the truth has no foreground.
    """
    negative, positive = histograms[:, ::-1]
    total = int(positive.sum())
    if total == 0:
        return None
    tp, fp = np.cumsum(positive), np.cumsum(negative)
    precision = tp / np.maximum(tp + fp, 1)
    return float(np.sum(positive / total * precision))
