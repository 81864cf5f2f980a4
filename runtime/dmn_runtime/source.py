"""From a volume on disk to a block on the working grid: read, resample, reflect."""

from collections.abc import Callable
from typing import cast

import numpy as np

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.plan import Plan, reflect
from dmn_runtime.volume.base import Voxels


def read_working(read: Callable[[Region], Voxels], plan: Plan, region: Region) -> Voxels:
    """Return `region` of the working grid, reflected where it reaches over the volume.

    Args:
        read: returns a region of the volume's own grid (`Volume.read`).
        plan: of the run.
        region: on the working grid; may reach outside.

    Returns:
        The voxels of `region`, zyx, in the volume's dtype.
    """
    inside = mirrored_inside(region, plan.working_shape)
    block = read_inside(read, plan, inside)
    return block if inside == region else _mirror(block, inside, region, plan.working_shape)


def read_inside(read: Callable[[Region], Voxels], plan: Plan, region: Region) -> Voxels:
    """Return `region` of the working grid, which lies inside the volume; otherwise as `read_working`."""
    source = plan.forward.source_of(region)
    return plan.forward.apply(read(source), source, region)


def mirrored_inside(region: Region, shape: Triple) -> Region:
    """Return the smallest region inside a volume of `shape` that holds all that `region` mirrors to."""
    mirrored = [reflect(a, b, n) for a, b, n in zip(region.start, region.stop, shape, strict=True)]
    low = [int(index.min()) for index in mirrored]
    high = [int(index.max()) + 1 for index in mirrored]
    return Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _mirror(block: Voxels, inside: Region, region: Region, shape: Triple) -> Voxels:
    """Reflect `block`, the voxels of `inside`, out to `region`; `inside` holds every voxel that mirrors."""
    before = [max(0, -a) for a in region.start]
    after = [max(0, b - n) for b, n in zip(region.stop, shape, strict=True)]
    padded = np.pad(block, list(zip(before, after, strict=True)), mode="reflect")
    origin = (inside.start[0] - before[0], inside.start[1] - before[1], inside.start[2] - before[2])
    return cast("Voxels", padded[region.relative_to(origin).slices])
