"""The fingerprint of a volume: equal content gives equal fingerprints in every format."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.normalise import sample_regions
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.source import VoxelType

WHOLE_BYTES = 32 * 2**20
"""Up to here every voxel counts; beyond, a sample, file sizes and modification times."""
SLAB_BYTES = 16 * 2**20


def fingerprint(
    shape: Triple,
    dtype: VoxelType,
    read: Callable[[Region], Voxels],
    file_times: Callable[[], Sequence[tuple[int, int]]],
) -> str:
    """Return the sha256 (hex) of shape, dtype and content; the path does not enter.

    Args:
        shape: voxels, zyx.
        dtype: of the voxels.
        read: region -> voxels.
        file_times: (size in bytes, modification time in ns) of each file; asked for large volumes only.
    """
    digest = hashlib.sha256(f"dmn-volume-1 {dtype.name} {shape}\n".encode())
    large = prod(shape) * dtype.itemsize > WHOLE_BYTES
    for region in sample_regions(shape) if large else slabs(shape, SLAB_BYTES // dtype.itemsize):
        # Hashed little-endian, so that a volume has one fingerprint on every machine.
        digest.update(np.ascontiguousarray(read(region), dtype.newbyteorder("<")).data)
    if large:
        digest.update(repr(list(file_times())).encode())
    return digest.hexdigest()


def slabs(shape: Triple, voxels: int) -> Iterator[Region]:
    """Cut a volume into boxes of about `voxels` voxels that follow each other in C order.

    Boxes are whole slices where a slice fits, else whole rows of one slice.
    """
    depth, height, width = shape
    slices = max(1, voxels // (height * width))
    rows = height if slices > 1 else min(height, max(1, voxels // width))
    for z in range(0, depth, slices):
        for y in range(0, height, rows):
            yield Region((z, y, 0), (min(z + slices, depth), min(y + rows, height), width))
