"""When the first slices of an acquisition were not like the rest."""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import Normalisation
from dmn_runtime.drift import TOLERANCE
from dmn_runtime.normalise import IntensityMap, percentile
from dmn_runtime.words import ordinal


def moved_greys(used: IntensityMap, counts: NDArray[np.int64], rule: Normalisation) -> list[str]:
    """Compare the map of a live run with the one that the whole volume would have got.

    Args:
        used: in the run.
        counts: histogram of the whole volume's sample.
        rule: the package's percentiles.

    Returns:
        No sentence or one; none while both ends moved by less than `drift.TOLERANCE` on the network's scale
        from -1 to 1, which is what the drift alarm lets pass.
    """
    own = percentile(counts, rule.low_percent), percentile(counts, rule.high_percent)
    scale = 2.0 / (used.high - used.low)
    if max(abs(own[0] - used.low), abs(own[1] - used.high)) * scale <= TOLERANCE:
        return []
    low, high = ordinal(rule.low_percent), ordinal(rule.high_percent)
    return [
        f"the grey values moved: {used.low:g} to {used.high:g} became the network's -1 to 1, but in the "
        f"whole volume the {low} and {high} percentile are {own[0]:g} and {own[1]:g}: look at the preview, "
        "and segment the folder again without --watch"
    ]
