"""Which slices' labels are used when only a fraction of them is (Roels et al. 2019, figure 3)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np


def pick_slices(
    foreground_px: Sequence[int], fraction: float, how: Literal["random", "balanced"], seed: int
) -> tuple[int, ...]:
    """Return the picked candidates' indexes, ascending: a share `fraction` of them, one at least.

    "random" draws them all alike; with one seed, a larger fraction holds all slices of a smaller one.
    "balanced" sorts them by foreground and takes them evenly spaced (systematic sampling), so that slices of
    much and little foreground are there as in the volume: the mean foreground differs from the volume's by
    no more than the range of the foreground over the count of picked slices. Each slice has the same chance,
    but fractions are not nested.

    Args:
        foreground_px: foreground of each candidate slice; one candidate at least.
        fraction: over 0, to 1.
        how: see above.
        seed: of the draw.
    """
    candidates = len(foreground_px)
    count = max(1, round(fraction * candidates))
    rng = np.random.default_rng(seed)
    if how == "random":
        return tuple(sorted(int(i) for i in rng.permutation(candidates)[:count]))
    by_foreground = np.argsort(foreground_px, kind="stable")
    offset = int(rng.integers(candidates))
    # In integers: rounding can then neither repeat a slice nor leave the list.
    ranks = [(index * candidates + offset) // count for index in range(count)]
    return tuple(sorted(int(i) for i in by_foreground[ranks]))
