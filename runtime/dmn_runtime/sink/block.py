"""What a block must be before a sink takes it."""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.sink.base import SinkSpec


def check_block(
    spec: SinkSpec, region: Region, probability: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> None:
    """Refuse anything but one whole block of `spec`; a writer of half blocks is a bug of ours.

    Raises:
        ValueError: `region` is no block of the grid, or an array is not zyx uint8 of its shape.
    """
    if region != block_at(spec, region.start):
        raise ValueError(f"{region} is not a block of {spec.block} in {spec.shape}")
    for name, voxels in (("probability", probability), ("mask", mask)):
        if voxels.shape != region.shape or voxels.dtype != np.uint8:
            raise ValueError(f"{name} is {voxels.dtype} {voxels.shape}, the block is uint8 {region.shape}")


def block_at(spec: SinkSpec, voxel: Triple) -> Region:
    """Return the block that holds `voxel`, cut off where the output ends."""
    start = tuple(v // b * b for v, b in zip(voxel, spec.block, strict=True))
    stop = tuple(min(s + b, n) for s, b, n in zip(start, spec.block, spec.shape, strict=True))
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
