"""Uncompressed slices at known offsets: only the wanted rows leave the disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.positional import PositionalFile

GAP_BYTES = 16 * 2**10
"""Two reads cost about as much as reading this much that nobody wants."""
SCRATCH_BYTES = 4 * 2**20


@dataclass(frozen=True)
class RawSlices:
    """Where slices lie: C order inside a slice, no padding.

    Attributes:
        offsets: first byte of each slice, int64 (z,).
        shape: voxels, zyx.
        dtype: as stored, with its byte order.
        is_signed: stored as two's complement; 128 is added, so that -128..127 becomes 0..255 (uint8 only).
    """

    offsets: NDArray[np.int64]
    shape: Triple
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    is_signed: bool = False


def read_raw(file: PositionalFile, slices: RawSlices, region: Region) -> Voxels:
    """Return the voxels of `region`, zyx, native byte order."""
    out: Voxels = np.empty(region.shape, slices.dtype.newbyteorder("="))
    _, rows, columns = region.slices
    for target, offset in zip(out, slices.offsets[region.start[0] : region.stop[0]], strict=True):
        _read_window(file, int(offset), slices.shape[2], rows, columns, target)
    if not slices.dtype.isnative:
        out.byteswap(inplace=True)
    if slices.is_signed:
        np.bitwise_xor(out, 0x80, out=out)
    return out


def _read_window(
    file: PositionalFile, offset: int, width: int, rows: slice, columns: slice, target: NDArray[Any]
) -> None:
    """Fill `target` (yx) with a window of the slice of `width` columns at `offset`."""
    row_bytes = width * target.itemsize
    start = offset + rows.start * row_bytes
    gap = row_bytes - target.shape[1] * target.itemsize
    if gap == 0:
        file.read_into(target, start)
    elif gap > GAP_BYTES:
        for i, row in enumerate(target):
            file.read_into(row, start + i * row_bytes + columns.start * target.itemsize)
    else:
        step = max(1, SCRATCH_BYTES // row_bytes)
        scratch = np.empty((min(step, len(target)), width), target.dtype)
        for i in range(0, len(target), step):
            part = scratch[: len(target) - i]
            file.read_into(part, start + i * row_bytes)
            target[i : i + step] = part[:, columns]
