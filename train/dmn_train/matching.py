"""Histogram matching as a table of grey values, so that a whole volume is matched for the price of a look-up.

Each source grey value goes to the target grey value of the same cumulative share (Gonzalez and Woods, Digital
Image Processing, 3.3.2); the same map as `skimage.exposure.match_histograms` makes on the two samples.
"""

import numpy as np
from numpy.typing import NDArray


def matching_table(source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the target grey value, float64, for each source grey value.

    Args:
        source: histogram of the source, one bin a grey value.
        target: histogram of the target, likewise; the two may differ in length.

    Grey values that the source sample does not hold are interpolated between their neighbours.
    """
    held = np.flatnonzero(source)
    wanted = np.flatnonzero(target)
    source_share = np.cumsum(source)[held] / source.sum()
    target_share = np.cumsum(target)[wanted] / target.sum()
    matched = np.interp(source_share, target_share, wanted.astype(np.float64))
    table: NDArray[np.float64] = np.interp(np.arange(len(source)), held, matched)
    return table
