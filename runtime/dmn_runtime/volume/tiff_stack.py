"""Slices of a TIFF as strips or tiles at known places, and how to read a window of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Triple, ceil_div
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.decoded_cache import DecodedCache
from dmn_runtime.volume.positional import PositionalFile
from dmn_runtime.volume.source import VoxelType

SegmentKey = tuple[int, int, int]
"""(file, slice, segment); a segment is a strip or a tile, counted along x, then y."""


@dataclass(frozen=True)
class SegmentGrid:
    """How a slice is cut into strips or tiles.

    Attributes:
        shape: pixels of the slice, yx.
        segment: pixels of a strip or tile, yx; those at the lower and right border may be padded or cut.
    """

    shape: tuple[int, int]
    segment: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of segments in a slice."""
        return ceil_div(self.shape[0], self.segment[0]) * self._across

    @property
    def _across(self) -> int:
        return ceil_div(self.shape[1], self.segment[1])

    def origin(self, index: int) -> tuple[int, int]:
        """Return the first pixel (y, x) of a segment."""
        return index // self._across * self.segment[0], index % self._across * self.segment[1]

    def covering(self, region: Region) -> Iterator[int]:
        """Yield the segments that a region touches in each of its slices."""
        (_, top, left), (_, bottom, right) = region.start, region.stop
        for row in range(top // self.segment[0], ceil_div(bottom, self.segment[0])):
            for column in range(left // self.segment[1], ceil_div(right, self.segment[1])):
                yield row * self._across + column


@dataclass(frozen=True)
class TiffStack:
    """Slices that share one encoding; values only, the file is handed to `read_segments`.

    Attributes:
        grid: strips or tiles of every slice.
        shape: voxels, zyx.
        dtype: native byte order.
        offsets: first byte of each segment, int64 (z, segment).
        counts: bytes of each segment, int64 (z, segment).
        decode: tifffile's decoder: (bytes, segment index) -> (array (1, y, x, 1), position, shape).
        jpeg_tables: of each slice, empty where the encoding has none.
    """

    grid: SegmentGrid
    shape: Triple
    dtype: VoxelType
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    decode: Callable[..., Any]
    jpeg_tables: tuple[bytes | None, ...] = ()


def walk_bytes(grid: SegmentGrid, region: Region, itemsize: int) -> int:
    """Return what must be kept so that a walk over blocks decodes every segment once.

    Blocks are read x fastest, then y, then z. Between two uses of a segment come at most the whole slices of
    the slab, and once more the row of segments that two rows of blocks share, in the slices of the next slab.

    Args:
        grid: strips or tiles of every slice.
        region: a block with its margins.
        itemsize: bytes of a pixel.
    """
    edge = grid.segment[0]
    row = (ceil_div(region.stop[1], edge) - region.start[1] // edge) * edge if grid.count > 1 else 0
    return region.shape[0] * (grid.shape[0] + row) * grid.shape[1] * itemsize


def read_segments(
    open_file: PositionalFile,
    stack: TiffStack,
    region: Region,
    cache: DecodedCache[SegmentKey],
    file_number: int = 0,
) -> Voxels:
    """Return the voxels of `region`, zyx; only the segments that it touches are read and decoded.

    Args:
        open_file: the file of the stack.
        stack: where its segments lie.
        region: inside the stack.
        cache: of decoded segments, shared by threads and files.
        file_number: tells the segments of several files apart in the cache.
    """
    cache.make_room(walk_bytes(stack.grid, region, stack.dtype.itemsize))
    touched = tuple(stack.grid.covering(region))
    keys = ((file_number, z, i) for z in range(region.start[0], region.stop[0]) for i in touched)

    def decode(key: SegmentKey) -> NDArray[Any]:
        _, z, i = key
        return decode_segment(open_file, stack, z, i)

    out: Voxels = np.empty(region.shape, stack.dtype)
    for (_, z, i), segment in cache.each(keys, decode):
        _copy_overlap(segment, stack.grid.origin(i), out[z - region.start[0]], region.start[1:])
    return out


def decode_segment(file: PositionalFile, stack: TiffStack, z: int, index: int) -> NDArray[Any]:
    """Return the pixels of one strip or tile, yx; only those that lie inside the slice."""
    data = file.read(int(stack.offsets[z, index]), int(stack.counts[z, index]))
    tables = stack.jpeg_tables[z] if stack.jpeg_tables else None
    pixels: NDArray[Any] = stack.decode(data, index, jpegtables=tables)[0][0, :, :, 0]
    top, left = stack.grid.origin(index)
    return pixels[: stack.grid.shape[0] - top, : stack.grid.shape[1] - left]


def _copy_overlap(
    segment: NDArray[Any], origin: tuple[int, int], out: NDArray[Any], out_origin: tuple[int, int]
) -> None:
    """Copy what two boxes (yx) share, each given with its first pixel on the slice."""
    first = [max(a, b) for a, b in zip(origin, out_origin, strict=True)]
    last = [
        min(a + n, b + m) for a, n, b, m in zip(origin, segment.shape, out_origin, out.shape, strict=True)
    ]
    source = tuple(slice(f - a, e - a) for f, e, a in zip(first, last, origin, strict=True))
    target = tuple(slice(f - b, e - b) for f, e, b in zip(first, last, out_origin, strict=True))
    out[target] = segment[source]
