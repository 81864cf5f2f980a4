"""Grey values to network input: one affine map per volume, from a deterministic sample of it.

The same functions serve training and inference, so that a network sees the same numbers in both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Triple, ceil_div
from dmn_runtime.volume.base import Volume, Voxels
from dmn_runtime.words import ordinal

SAMPLE_SLICES = 16
SAMPLE_WINDOWS = 4  # along y and along x
SAMPLE_EDGE_PX = 256


@dataclass(frozen=True)
class IntensityMap:
    """The map of one volume: y = clip(2 * (x - low) / (high - low) - 1, -clip, clip).

    `low` and `high` are grey values; recorded in every report.
    """

    low: float
    high: float
    clip: float

    def table(self, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> NDArray[np.float32]:
        """Return the map as a table, one float32 for each grey value of `dtype`."""
        return self.apply(np.arange(np.iinfo(dtype).max + 1))

    def apply(self, grey: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map grey values of any shape to float32 network input."""
        scaled = 2.0 * (grey.astype(np.float64) - self.low) / (self.high - self.low) - 1.0
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)


def sample_regions(shape: Triple) -> tuple[Region, ...]:
    """Return the windows from which a volume's intensities are sampled.

    At most `SAMPLE_SLICES` slices, evenly spaced; in each at most 4 x 4 windows of 256 x 256 px, evenly
    spaced, the first and last touching the edges; a slice that small windows would cover is taken whole.
    """
    z_starts = spread(shape[0], 1, SAMPLE_SLICES)
    y_edge, y_starts = _windows(shape[1])
    x_edge, x_starts = _windows(shape[2])
    return tuple(
        Region((z, y, x), (z + 1, y + y_edge, x + x_edge))
        for z in z_starts
        for y in y_starts
        for x in x_starts
    )


def _windows(extent: int) -> tuple[int, tuple[int, ...]]:
    if extent <= SAMPLE_EDGE_PX * SAMPLE_WINDOWS:
        return extent, (0,)
    return SAMPLE_EDGE_PX, spread(extent, SAMPLE_EDGE_PX, SAMPLE_WINDOWS)


def spread(extent: int, edge: int, most: int) -> tuple[int, ...]:
    """Return at most `most` starts of windows of `edge`, evenly spread over `extent`, ends included."""
    count = min(most, ceil_div(extent, edge))
    if count == 1:
        return ((extent - edge) // 2,)
    return tuple(i * (extent - edge) // (count - 1) for i in range(count))


def histogram(volume: Volume) -> NDArray[np.int64]:
    """Count the grey values of the volume's sample: int64, one bin a grey value of its dtype."""
    bins = int(np.iinfo(volume.dtype).max) + 1
    counts = np.zeros(bins, np.int64)
    for region in sample_regions(volume.shape):
        counts += np.bincount(volume.read(region).ravel(), minlength=bins)
    return counts


def percentile(counts: NDArray[np.int64], percent: float) -> float:
    """Return the smallest grey value that at least `percent` % of the counted voxels do not exceed."""
    cumulated = np.cumsum(counts)
    return float(np.searchsorted(cumulated, np.ceil(percent / 100.0 * cumulated[-1])))


def fit_map(counts: NDArray[np.int64], rule: Normalisation, path: str) -> IntensityMap:
    """Fit the map of a volume to the histogram of its sample.

    Raises:
        VolumeError: the sample is constant, so that there is nothing to segment.
    """
    low, high = percentile(counts, rule.low_percent), percentile(counts, rule.high_percent)
    if high <= low:
        raise VolumeError(
            f"{path} is constant (grey value {low:g} from the {ordinal(rule.low_percent)} to the "
            f"{ordinal(rule.high_percent)} percentile): check that it is the image and not a mask"
        )
    return IntensityMap(low, high, rule.clip)


def quantiles(
    counts: NDArray[np.int64], low: float, high: float, percents: tuple[float, ...]
) -> tuple[float, ...]:
    """Return the unclipped normalised intensity at each of `percents`."""
    return tuple(2.0 * (percentile(counts, p) - low) / (high - low) - 1.0 for p in percents)


def map_volume(volume: Volume, rule: Normalisation) -> IntensityMap:
    """Sample a volume and fit its map."""
    return fit_map(histogram(volume), rule, volume.path)


def apply_map(grey: Voxels, intensity: IntensityMap) -> NDArray[np.float32]:
    """Map integer voxels of any shape to float32 network input, by table."""
    table: NDArray[np.float32] = intensity.table(grey.dtype)
    return table[grey]
