"""What to do next in live mode: a pure planner over slices that are there and blocks that are done.

    slab    the blocks of one range of slices; they read the same slices
    planes  the slices that a slab reads, context included, in order, reflected where the volume ends
    stamp   a number for all that a block's voxels depend on: its slices, their reflection, their content

The end of an acquisition without `--until` is not known: its plan is `OPEN_END` slices deep, so that no slab
is ever reflected at an end that is none, and the last slabs wait.
"""

import json
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dmn_runtime.plan import Plan, reflect

OPEN_END = 2**20
"""Depth of a plan whose end is not known; more slices than any acquisition has."""


@dataclass(frozen=True)
class Look:
    """Decode slice `z`: is it whole, of the right shape, and what is in it?"""

    z: int


@dataclass(frozen=True)
class Segment:
    """Segment block `index` from the slices `planes`; what it then depends on has the number `stamp`."""

    index: int
    planes: tuple[int, ...]
    stamp: int


def slab_extent(plan: Plan, slab: int) -> tuple[int, int]:
    """Return the slices [start, stop) that a slab delivers."""
    start = slab * plan.block[0]
    return start, min(start + plan.block[0], plan.output_shape[0])


def slab_planes(plan: Plan, slab: int) -> tuple[int, ...]:
    """Return the slices that a slab reads, in order, reflected at the volume's first and last slice."""
    start, stop = slab_extent(plan, slab)
    context = plan.footprint.context_slices
    return tuple(int(z) for z in reflect(start - context, stop + context, plan.output_shape[0]))


def slab_blocks(plan: Plan, slab: int) -> range:
    """Return the indices of a slab's blocks."""
    count = plan.counts[1] * plan.counts[2]
    return range(slab * count, (slab + 1) * count)


def slabs_reading(plan: Plan, z: int) -> Iterator[int]:
    """Yield the slabs that read slice `z`."""
    context = plan.footprint.context_slices
    first, last = max(0, z - context) // plan.block[0], (z + context) // plan.block[0]
    for slab in range(first, min(last, plan.counts[0] - 1) + 1):
        if z in slab_planes(plan, slab):
            yield slab


def wanted_stamp(plan: Plan, slab: int, slices: Mapping[int, int | None]) -> int | None:
    """Return the stamp that the blocks of a slab have once they are up to date.

    Args:
        plan: of the run.
        slab: which.
        slices: CRC-32 of the pixels of every slice that is there; None where nobody has looked yet.

    Returns:
        None while a slice is missing or has not been looked at.
    """
    contents = [slices.get(z) for z in slab_planes(plan, slab)]
    if None in contents:
        return None
    return zlib.crc32(json.dumps([*slab_extent(plan, slab), *contents]).encode())


def is_done(plan: Plan, slab: int, slices: Mapping[int, int | None], stamps: Mapping[int, int]) -> bool:
    """Tell whether every block of a slab was made from its slices as they are now."""
    wanted = wanted_stamp(plan, slab, slices)
    return wanted is not None and all(stamps.get(index) == wanted for index in slab_blocks(plan, slab))


def next_step(
    plan: Plan,
    slabs: Iterable[int],
    slices: Mapping[int, int | None],
    stamps: Mapping[int, int],
    busy: Container[int],
) -> Look | Segment | None:
    """Choose what to do next.

    The first slab whose slices are all there comes first: its slices are looked at, then its blocks that are
    out of date are segmented. Where there is none, slices that nobody has looked at are, so that a fault is
    told soon.

    Args:
        plan: of the run.
        slabs: those that are not done, in the order in which they are wanted.
        slices: as in `wanted_stamp`.
        stamps: block to the stamp with which it was last made.
        busy: blocks on their way; they are never begun a second time beside themselves.
    """
    idle: Look | None = None
    for slab in slabs:
        planes = slab_planes(plan, slab)
        unseen = next((z for z in planes if slices.get(z, 0) is None), None)
        if unseen is not None and idle is None:
            idle = Look(unseen)
        if any(z not in slices for z in planes):
            continue
        if unseen is not None:
            return Look(unseen)
        wanted = wanted_stamp(plan, slab, slices)
        assert wanted is not None
        for index in slab_blocks(plan, slab):
            if index not in busy and stamps.get(index) != wanted:
                return Segment(index, planes, wanted)
    return idle
