"""The probability from which a run's network calls a voxel foreground."""

from collections.abc import Sequence
from math import floor

import numpy as np
from numpy.typing import NDArray

from dmn_train.validate import THRESHOLD

HIGHEST = 0.99  # probabilities are written with 8 bits, and 0.996 is the last value below 1


def bounded_threshold(probabilities: Sequence[NDArray[np.float32]], most: float) -> float:
    """Return the least threshold, at least 0.5 and at most 0.99, at which no larger share is foreground.

    The decision for a changed prior (Saerens et al., Neural Computation 2002), with the prior given as a
    bound on the share of foreground.

    Args:
        probabilities: of slices of the target, yx each.
        most: share of all pixels that may be foreground, above 0 and below 1.
    """
    every = np.concatenate([one.ravel() for one in probabilities])
    allowed = floor(most * every.size)
    surest_left_out = np.partition(every, every.size - allowed - 1)[every.size - allowed - 1]
    above = float(np.nextafter(surest_left_out, np.float32(2.0)))  # in float32, as probabilities are compared
    return min(max(THRESHOLD, above), HIGHEST)


def bound_alarm(probabilities: Sequence[NDArray[np.float32]], threshold: float, most: float) -> str | None:
    """Return a sentence where even the highest threshold leaves more foreground than may be."""
    share = float(np.mean(np.concatenate([one.ravel() for one in probabilities]) >= np.float32(threshold)))
    if share <= most:
        return None
    return (
        f"{share:.1%} of the target is foreground at threshold {threshold:g}, the highest there is, and "
        f"select.most_foreground allows {most:.1%}: raise the bound, or bound the labels that it is trained "
        "with (labels.most_foreground)"
    )
