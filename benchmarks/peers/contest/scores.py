"""How good a probability is: against labels, and against the untiled result of the same weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.metrics import iou
from dmn_runtime.tiles import grey_threshold

EDGE_PX = 64
"""Left out on each side of a slice: there zeros, MONAI's padding and DMN's reflection differ by right."""
INNER = np.s_[:, EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]

Probability = NDArray[np.float32] | NDArray[np.uint8]


def grey(probability: Probability) -> NDArray[np.uint8]:
    """Return a probability in 255 grey levels, rounded as DMN rounds."""
    if probability.dtype == np.uint8:
        return probability.astype(np.uint8, copy=False)
    scaled = probability.astype(np.float32) * np.float32(255.0) + np.float32(0.5)
    rounded: NDArray[np.uint8] = np.clip(scaled, 0.0, 255.0).astype(np.uint8)
    return rounded


def foreground_iou(probability: Probability, labels: NDArray[np.bool_], threshold: float) -> float:
    """Return the IoU of the foreground of all voxels together; nothing against nothing is 1."""
    predicted = grey(probability) >= grey_threshold(threshold)
    counts = [np.count_nonzero(a) for a in (predicted & labels, predicted & ~labels, ~predicted & labels)]
    return float(iou(np.array([*counts, 0], np.int64)))


def off_untiled(probability: Probability, untiled: NDArray[np.float32]) -> dict[str, Any]:
    """Compare with the untiled result, in grey levels of 255, away from the volume's edge.

    Returns:
        max_grey, mean_grey, and share_off: of voxels more than one grey level off; None for slices that have
        nothing but edge.
    """
    mine, truth = grey(probability)[INNER], grey(untiled)[INNER]
    if mine.size == 0:
        return {"max_grey": None, "mean_grey": None, "share_off": None}
    difference = np.abs(mine.astype(np.int16) - truth)
    return {
        "max_grey": int(difference.max()),
        "mean_grey": float(difference.mean()),
        "share_off": float(np.count_nonzero(difference > 1) / difference.size),
    }
