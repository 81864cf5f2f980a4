"""From a volume on disk to a block on the working grid: read, resample, reflect."""

import numpy as np

from dmn_runtime.geometry import Region
from dmn_runtime.plan import Plan, reflect
from dmn_runtime.volume.base import Volume, Voxels


def read_working(volume: Volume, plan: Plan, region: Region) -> Voxels:
    """Return `region` of the working grid, reflected where it reaches over the volume.

    Args:
        volume: on its own grid.
        plan: of the run.
        region: on the working grid; may reach outside.

    Returns:
        The voxels of `region`, zyx, in the volume's dtype.
    """
    mirrored = [
        reflect(a, b, n) for a, b, n in zip(region.start, region.stop, plan.working_shape, strict=True)
    ]
    low = [int(index.min()) for index in mirrored]
    high = [int(index.max()) + 1 for index in mirrored]
    inside = Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    source = plan.forward.source_of(inside)
    block = plan.forward.apply(volume.read(source), source, inside)
    if inside == region:
        return block
    return _mirror(block, [index - first for index, first in zip(mirrored, low, strict=True)])


def _mirror(block: Voxels, index: list[np.ndarray[tuple[int], np.dtype[np.intp]]]) -> Voxels:
    for axis, positions in enumerate(index):
        if len(positions) != block.shape[axis] or not np.array_equal(positions, np.arange(len(positions))):
            block = block[(slice(None),) * axis + (positions,)]
    return block
