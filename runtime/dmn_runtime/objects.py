"""Object metrics: panoptic quality of connected components (docs/evaluation.md).

Kirillov et al., Panoptic Segmentation, CVPR 2019: an object of the truth and one of the prediction match
where their IoU exceeds 0.5, which makes the match unique; PQ = SQ * RQ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.bootstrap import Interval, interval
from dmn_runtime.extras import require

FLOOR_VOXELS = 100
MATCH_IOU = 0.5
BYTES_PER_VOXEL = 12  # two masks of 1 byte, two label volumes of 4, and the overlap


@dataclass(frozen=True)
class Matches:
    """Objects after matching: IoU of each matched pair (float64, one a pair) and how many are left over."""

    ious: NDArray[np.float64]
    false_positives: int
    false_negatives: int


@dataclass(frozen=True)
class ObjectScores:
    """Object scores, 0 to 1.

    `rq` is the F1 of objects, `sq` the mean IoU of matched pairs (None without a pair), `pq` their product;
    all are 1 where neither side has an object. `pq_interval`: 95 %, objects resampled.
    """

    pq: float
    sq: float | None
    rq: float
    true_positives: int
    false_positives: int
    false_negatives: int
    pq_interval: Interval | None


def label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.unsignedinteger], int]:
    """Number the 26-connected components of a zyx mask that have at least 100 voxels.

    Returns:
        labels, zyx, 0 = background or an object below the floor, and 1..n without gaps; and n.

    Raises:
        MissingExtra: connected-components-3d is not installed.
    """
    require("cc3d", to="count objects")
    import cc3d

    # In a volume of one slice 26-connectivity is 8-connectivity.
    labels, n = cc3d.connected_components(mask, connectivity=26, return_N=True, binary_image=True)
    kept = _sizes(labels, n) >= FLOOR_VOXELS
    kept[0] = False
    renumbered = (np.cumsum(kept) * kept).astype(labels.dtype)
    for plane in labels:  # in place: a second label volume would be the largest array of all
        plane[...] = renumbered[plane]
    return labels, int(kept.sum())


def _sizes(labels: NDArray[np.unsignedinteger], n: int) -> NDArray[np.int64]:
    # By plane, because bincount makes an int64 copy of what it counts.
    sizes = np.zeros(n + 1, np.int64)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=n + 1)
    return sizes


def match(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Matches:
    """Match the objects of two zyx masks of one shape at IoU > 0.5.

    Raises:
        MissingExtra: connected-components-3d is not installed.
    """
    predicted, n_predicted = label(prediction)
    true, n_true = label(truth)
    ious = _ious_above_half(predicted, n_predicted, true, n_true)
    return Matches(ious, n_predicted - len(ious), n_true - len(ious))


def _ious_above_half(
    predicted: NDArray[np.unsignedinteger],
    n_predicted: int,
    true: NDArray[np.unsignedinteger],
    n_true: int,
) -> NDArray[np.float64]:
    both = (predicted > 0) & (true > 0)
    pairs = true[both].astype(np.int64) * (n_predicted + 1) + predicted[both]
    pair, overlap = np.unique(pairs, return_counts=True)
    of_true, of_predicted = np.divmod(pair, n_predicted + 1)
    union = _sizes(true, n_true)[of_true] + _sizes(predicted, n_predicted)[of_predicted] - overlap
    ious: NDArray[np.float64] = overlap / union
    return ious[ious > MATCH_IOU]


def score(matches: Matches, resamples: int, seed: int) -> ObjectScores:
    """Return PQ, SQ and RQ of matched objects, with the bootstrap interval of PQ over objects.

    A unit of the bootstrap is a matched pair, an unmatched prediction or an unmatched truth.
    """
    tp, fp, fn = len(matches.ious), matches.false_positives, matches.false_negatives
    units = np.zeros((tp + fp + fn, 2))  # what each adds to the numerator and the denominator of PQ
    units[:tp, 0] = matches.ious
    units[:, 1] = 0.5
    units[:tp, 1] = 1.0
    empty = len(units) == 0
    return ObjectScores(
        pq=1.0 if empty else float(_quality(units.sum(axis=0)[None])[0]),
        sq=1.0 if empty else float(matches.ious.mean()) if tp else None,
        rq=1.0 if empty else tp / (tp + 0.5 * fp + 0.5 * fn),
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        pq_interval=interval(units, _quality, resamples, seed),
    )


def _quality(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    quality: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return quality
