"""Two networks' probabilities of the same tiles, compared in terms of the segmentation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.extras import is_present
from dmn_runtime.tiles import grey_threshold

Probability = NDArray[np.floating]

GREY_LEVELS = 256
LEAST_GAIN = 0.0005
"""A recalibrated threshold must better the IoU by this much; less is the chance of a few pixels."""


@dataclass(frozen=True)
class Parity:
    """Figures of a comparison; for what each means see `dmn_runtime.contract.Certificate`.

    `worst_tile`: index of the tile with the largest difference, NaN counted as the largest.
    """

    tiles: int
    max_dp: float
    mean_dp: float
    iou_change: float
    objects: int | None
    objects_matched: int | None
    worst_tile: int

    def within(self, tolerance: Tolerance) -> bool:
        """Tell whether figures are allowed; asked the positive way round, so that NaN fails."""
        return self.max_dp <= tolerance.max_dp and self.iou_change <= tolerance.iou_change


def compare(expected: Probability, found: Probability, threshold: float, found_threshold: float) -> Parity:
    """Compare probabilities of the same tiles.

    Args:
        expected: of the reference, n1hw, 0 to 1.
        found: of what is examined, the same shape.
        threshold: from which the reference calls a pixel foreground.
        found_threshold: the same for `found`.

    Masks are those of 8-bit probabilities, as a run writes them. IoU is of all tiles' masks together; two
    empty masks are equal. Objects are counted where connected-components-3d is installed.
    """
    difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    expected_mask, found_mask = mask(expected, threshold), mask(found, found_threshold)
    union = int(np.count_nonzero(expected_mask | found_mask))
    both = int(np.count_nonzero(expected_mask & found_mask))
    objects = _matched_objects(expected_mask, found_mask)
    return Parity(
        tiles=len(expected),
        max_dp=float(difference.max()),
        mean_dp=float(difference.mean()),
        iou_change=1.0 - both / union if union else 0.0,
        objects=None if objects is None else objects[0],
        objects_matched=None if objects is None else objects[1],
        worst_tile=int(np.argmax(np.nan_to_num(difference, nan=np.inf).max(axis=(1, 2, 3)))),
    )


def mask(probability: Probability, threshold: float) -> NDArray[np.bool_]:
    """Return the foreground of probabilities as a run would write it."""
    return _grey(probability) >= grey_threshold(threshold)


def recalibrated(expected: Probability, found: Probability, threshold: float) -> float:
    """Return the threshold of `found` whose mask is most like the reference's at `threshold`.

    `threshold` itself is kept unless another betters the IoU by `LEAST_GAIN`. Meant for other tiles than the
    certificate's, or the certificate would flatter. Arguments are as in `compare`.
    """
    of_expected = mask(expected, threshold)
    grey = _grey(found)
    inside = np.bincount(grey[of_expected], minlength=GREY_LEVELS)
    everywhere = np.bincount(grey.ravel(), minlength=GREY_LEVELS)
    both, size = (counts[::-1].cumsum()[::-1] for counts in (inside, everywhere))
    iou = both / np.maximum(int(of_expected.sum()) + size - both, 1)
    iou[0] = -1.0  # 0 calls everything foreground: no threshold says so
    best, kept = int(iou.argmax()), grey_threshold(threshold)
    if iou[best] < iou[kept] + LEAST_GAIN:
        return threshold
    return (best - 0.5) / (GREY_LEVELS - 1)  # between two grey values: no rounding can move it


def _grey(probability: Probability) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.floor(255.0 * np.nan_to_num(probability) + 0.5).astype(np.uint8)
    return grey


def _matched_objects(expected: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Count the reference's objects, tile by tile, and how many of them the other masks have."""
    if not is_present("cc3d"):
        return None
    from dmn_runtime.objects import match

    there = matched = 0
    for one, other in zip(expected, found, strict=True):
        pairs = match(other, one)  # a tile of one channel is a volume of one slice
        matched += len(pairs.ious)
        there += len(pairs.ious) + pairs.false_negatives
    return there, matched
