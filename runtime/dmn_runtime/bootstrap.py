"""Percentile bootstrap: how far a number would move had other slices, or other objects, been imaged.

Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: units are drawn with replacement, the
score is computed on each resample, and the interval runs from the 2.5th to the 97.5th percentile of them.
The draws depend on the seed and the number of units alone, so that two methods that are scored on the same
slices with the same seed are scored on the same resamples.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
PERCENT = 95.0
_DRAWS_AT_ONCE = 4_000_000


def interval(
    units: NDArray[np.float64] | NDArray[np.int64],
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    resamples: int,
    seed: int,
) -> Interval | None:
    """Return the 95 % percentile interval of a score of summed units.

    Args:
        units: (n, k): what one slice or one object adds to the k sums that the score is made of.
        score: sums (r, k) to scores (r,).
        resamples: how many times n units are drawn; 0 for no interval.
        seed: of NumPy's PCG64.

    Returns:
        (low, high), or None where fewer than two units or no resamples are given: nothing varies then.
    """
    n = len(units)
    if n < 2 or resamples < 1:
        return None
    random = np.random.default_rng(seed)
    share = np.full(n, 1.0 / n)
    batch = max(1, _DRAWS_AT_ONCE // n)  # bounds the memory, whatever n is
    drawn = [
        # How often each unit was drawn is multinomial, which turns resampling into a matrix product.
        score(random.multinomial(n, share, size=min(batch, resamples - done)).astype(np.float64) @ units)
        for done in range(0, resamples, batch)
    ]
    low, high = np.percentile(np.concatenate(drawn), [50 - PERCENT / 2, 50 + PERCENT / 2])
    return float(low), float(high)
