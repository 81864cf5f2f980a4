"""The plain twins of the fused kernels, batch by batch as the sheet says; docs/kernels.md is the page of law.

`tiles.cu` is held against this file by property tests, this file against `dmn_runtime.tiles`.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.gpu.sheet import HEADER_WORDS, TILE_WORDS
from dmn_runtime.plan import reflect
from dmn_runtime.tiles import sigmoid
from dmn_runtime.volume.base import Voxels

Layout = Literal["nchw", "nhwc"]
"""How a batch lies in memory; both are the same numbers."""

MOST_ODDS_LOGIT = np.float32(80.0)
"""Bound of a class's logit above the background's: exp of it is finite, and 1 / exp of it no grey level."""


def gather_batch(
    patch: Voxels,
    sheet: NDArray[np.int32],
    table: NDArray[Any],
    channels: int,
    height: int,
    width: int,
    layout: Layout = "nchw",
) -> NDArray[Any]:
    """Cut the used tiles of a sheet out of a patch and look their grey values up.

    Args:
        patch: uint8 or uint16 zyx; rows may be longer than the sheet says (the pitch).
        sheet: int32 words.
        table: network input of each grey value, float16 or float32, as many as the voxels' type has values.
        channels: 2 context_slices + 1.
        height: of a tile in px, halo included.
        width: of a tile likewise.
        layout: of the result.

    Returns:
        As `table`, nchw or nhwc, one image for each used tile.
    """
    inside = patch[tuple(slice(0, n) for n in sheet[3:6])]
    images = np.empty((sheet[13], channels, height, width), table.dtype)
    for image, words in zip(images, _tiles(sheet), strict=True):
        start = words[0:3] - (channels // 2, 0, 0)
        index = [_patch_index(sheet, axis, start[axis], n) for axis, n in enumerate(image.shape)]
        image[:] = table[inside[np.ix_(*index)]]
    return images if layout == "nchw" else np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def scatter_batch(
    logits: NDArray[Any],
    sheet: NDArray[np.int32],
    probability: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None = None,
    grey_threshold: int = 128,
    layout: Layout = "nchw",
) -> None:
    """Write the cores of the used tiles of a sheet to where they belong.

    Args:
        logits: float16 or float32, nchw or nhwc; one channel, or the background and one for each class.
        sheet: int32 words.
        probability: uint8 zyx, 255 = certain; cores alone are written.
        mask: uint8 zyx: where the grey level reaches the threshold, 1, or the class with the largest logit.
        grey_threshold: smallest grey level that is foreground (`tiles.grey_threshold`).
        layout: of `logits`.
    """
    images = logits if layout == "nchw" else logits.transpose(0, 3, 1, 2)
    for image, words in zip(images, _tiles(sheet), strict=False):
        skip_y, skip_x, height, width, z, y, x = (int(word) for word in words[3:10])
        core = image[:, skip_y : skip_y + height, skip_x : skip_x + width].astype(np.float32)
        target = (z, slice(y, y + height), slice(x, x + width))
        grey = quantise(foreground(core))
        probability[target] = grey
        if mask is not None:
            which = 1 if len(core) == 1 else core[1:].argmax(axis=0) + 1
            mask[target] = np.where(grey >= grey_threshold, which, 0)


def copy_bytes(source: NDArray[np.uint8], target: NDArray[np.uint8], nbytes: int) -> None:
    """Copy the first `nbytes`; the rest of the target stays as it is."""
    target[:nbytes] = source[:nbytes]


def foreground(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability of anything but background.

    Args:
        logits: float32 cyx. One channel: 1 / (1 + exp(-logit)). Several: 1 - softmax of the first, written as
            1 - 1 / (1 + sum of exp(logit - first logit)).

    Returns:
        float32 yx.
    """
    if len(logits) == 1:
        return sigmoid(logits[0])
    odds = np.exp(np.minimum(logits[1:] - logits[0], MOST_ODDS_LOGIT)).sum(axis=0, dtype=np.float32)
    one = np.float32(1.0)
    result: NDArray[np.float32] = one - one / (one + odds)
    return result


def quantise(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return floor(255 p + 0.5), in float32."""
    return (probability * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


def _tiles(sheet: NDArray[np.int32]) -> NDArray[np.int32]:
    used = int(sheet[13])
    return sheet[HEADER_WORDS : HEADER_WORDS + used * TILE_WORDS].reshape(used, TILE_WORDS)


def _patch_index(sheet: NDArray[np.int32], axis: int, start: int, n: int) -> NDArray[np.intp]:
    """Return the index in the patch of each of `n` positions on the working grid, reflected, then clamped."""
    mirrored = reflect(int(start), int(start) + n, int(sheet[6 + axis]))
    return np.clip(mirrored - int(sheet[axis]), 0, int(sheet[3 + axis]) - 1)
