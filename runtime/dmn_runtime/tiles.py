"""The plain twins of what surrounds the network: gather (voxels to input) and scatter (logits to voxels).

Every faster version of these two is held against this file by a property test.
"""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.volume.base import Voxels


def gather(patch: Voxels, table: NDArray[np.float32], context_slices: int) -> NDArray[np.float32]:
    """Turn grey values into network input.

    Args:
        patch: zyx voxels, `context_slices` more on both sides of z than wanted.
        table: network input of each grey value (`IntensityMap.table`).
        context_slices: c neighbours on both sides make 2 c + 1 channels, in order of z.

    Returns:
        float32 nchw, n = patch slices - 2 c.
    """
    # mode="clip" spares NumPy a buffered bounds check; the table has an entry for every grey value.
    grey = np.take(table, patch, mode="clip")
    slices = patch.shape[0] - 2 * context_slices
    if context_slices == 0:
        return grey[:, None]
    return np.stack([grey[n : n + 2 * context_slices + 1] for n in range(slices)])


def scatter(logits: NDArray[np.float32], halo_px: int) -> NDArray[np.uint8]:
    """Turn logits into probabilities of the core, 255 = certain: floor(255 * sigmoid(logit) + 0.5).

    Args:
        logits: float32 nchw with one channel.
        halo_px: pixels to cut off on all four sides.

    Returns:
        uint8 zyx, C-contiguous.
    """
    scaled = sigmoid(crop(logits, halo_px))
    scaled *= np.float32(255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def crop(logits: NDArray[np.float32], halo_px: int) -> NDArray[np.float32]:
    """Cut the halo off logits nchw and drop the channel: float32 zyx, a view."""
    if halo_px == 0:
        return logits[:, 0]
    return logits[:, 0, halo_px:-halo_px, halo_px:-halo_px]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-logit)) as a new float32 array; large negative logits give 0 without a warning."""
    out = np.negative(logits)
    np.minimum(out, np.float32(88.0), out=out)
    np.exp(out, out=out)
    out += np.float32(1.0)
    np.reciprocal(out, out=out)
    return out


def mask_of(probability: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """Return 1 where probability / 255 >= threshold, else 0 (uint8)."""
    return (probability >= grey_threshold(threshold)).view(np.uint8)


def grey_threshold(threshold: float) -> int:
    """Return the smallest uint8 probability that counts as foreground at `threshold` (0 to 1)."""
    return int(np.ceil(threshold * 255.0 - 1e-9))
