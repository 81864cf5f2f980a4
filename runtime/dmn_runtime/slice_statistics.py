"""What is known of every slice of an output, collected block by block, and which slices to show for it."""

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Triple

UNCERTAIN = (51, 204)
"""Probabilities (of 255) from 0.2 to 0.8 count as uncertain."""


@final
class SliceStatistics:
    """Counts of each slice; memory grows with the number of slices only.

    Attributes:
        seen: voxels counted so far, int64, one number a slice.
        foreground: how many of them are foreground.
        uncertain: how many of them have a probability from 0.2 to 0.8.
    """

    def __init__(self, shape: Triple) -> None:
        """Start empty for an output of `shape` voxels, zyx."""
        self.shape = shape
        self.seen = np.zeros(shape[0], np.int64)
        self.foreground = np.zeros(shape[0], np.int64)
        self.uncertain = np.zeros(shape[0], np.int64)

    def add(self, region: Region, probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Count one block.

        Args:
            region: where the block lies in the output.
            probability: uint8 zyx, 255 = certain foreground.
            mask: uint8 zyx, not 0 = foreground.
        """
        slices = region.slices[0]
        low, high = UNCERTAIN
        self.seen[slices] += probability.shape[1] * probability.shape[2]
        # Slice by slice: NumPy counts a whole array many times faster than along axes. Below `low` the
        # difference of uint8 wraps round to above `high - low`, which spares the second comparison.
        uncertain = probability - np.uint8(low) <= np.uint8(high - low)
        self.foreground[slices] += [np.count_nonzero(one) for one in mask]
        self.uncertain[slices] += [np.count_nonzero(one) for one in uncertain]

    @property
    def foreground_share(self) -> float:
        """Share of all counted voxels that is foreground; 0 if none was counted."""
        return float(self.foreground.sum() / max(int(self.seen.sum()), 1))

    def foreground_shares(self) -> NDArray[np.float64]:
        """Return the share of foreground of each slice; 0 where nothing was counted."""
        return np.asarray(self.foreground / np.maximum(self.seen, 1))

    def uncertain_shares(self) -> NDArray[np.float64]:
        """Return the share of uncertain voxels of each slice; 0 where nothing was counted."""
        return np.asarray(self.uncertain / np.maximum(self.seen, 1))


def choose_slices(statistics: SliceStatistics, count: int = 3) -> tuple[int, ...]:
    """Choose the slices that say most about an output, each once, in rising order.

    In turn: the slice with the largest share of foreground, the one with the largest share of uncertain
    voxels, and the one whose share of foreground is nearest to the median of the slices that have any; then
    in turn again. Ties go to the slice nearer to the middle, then to the lower one.
    """
    slices = len(statistics.seen)
    foreground, uncertain = statistics.foreground_shares(), statistics.uncertain_shares()
    some = foreground[foreground > 0]
    median = float(np.median(some)) if len(some) else 0.0
    rankings = [
        _ranked(-foreground),
        _ranked(-uncertain),
        _ranked(np.abs(foreground - median)),
    ]
    return tuple(sorted(_take_turns(rankings, min(count, slices))))


def _ranked(cost: NDArray[np.float64]) -> Iterator[int]:
    """Yield slices by rising cost, ties by their distance from the middle."""
    last = len(cost) - 1
    return iter(sorted(range(len(cost)), key=lambda z: (float(cost[z]), abs(2 * z - last), z)))


def _take_turns(rankings: Sequence[Iterator[int]], count: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < count:
        ranking = rankings[len(chosen) % len(rankings)]
        chosen.append(next(z for z in ranking if z not in chosen))
    return chosen
