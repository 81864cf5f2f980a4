"""Which part of a target is read: all of one that is small, else blocks of slices spread over it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from dmn_export.adapt.defaults import SLICE_PX, TARGET_BLOCKS, TARGET_VOXELS
from dmn_runtime.geometry import Spacing, Triple, ceil_div
from dmn_runtime.normalise import spread
from dmn_train.sections import SliceRange


@dataclass(frozen=True)
class Part:
    """A block of slices, whole or a strip of them.

    Attributes:
        slices: [first, one past the last], z.
        columns: likewise on the x axis; None: all.
    """

    slices: SliceRange
    columns: SliceRange | None


def target_parts(
    shape: Triple, voxel_nm: Spacing, working_nm: float | None, chosen: SliceRange | None = None
) -> tuple[Part, ...]:
    """Return the parts of a target that are read, the same on every call.

    Slices of more than `SLICE_PX` pixels on the working grid, which would not go through a network at once,
    are cut into strips of the same width. Up to `TARGET_VOXELS` everything is read; of more, blocks at even
    distances, the first and the last touching the ends, each of another strip as far as these go.

    Args:
        shape: voxels, zyx.
        voxel_nm: voxel size, zyx.
        working_nm: pixel size that the network works at; None: the volume's.
        chosen: slices that are read, all of them and no others, whatever their size.
    """
    depth, height, width = shape
    strips = _strips(shape, voxel_nm, working_nm)
    if chosen is not None or prod(shape) <= TARGET_VOXELS:
        return tuple(Part(chosen or (0, depth), strip) for strip in strips)
    wide = width if strips[0] is None else strips[0][1] - strips[0][0]
    slices = max(1, TARGET_VOXELS // (height * wide))
    blocks = max(min(TARGET_BLOCKS, slices), ceil_div(slices, depth))
    thick = slices // blocks
    starts = spread(depth, thick, min(TARGET_BLOCKS, blocks))
    firsts = [starts[number % len(starts)] for number in range(blocks)]
    return tuple(
        Part((first, first + thick), strips[number * len(strips) // blocks])
        for number, first in enumerate(firsts)
    )


def _strips(shape: Triple, voxel_nm: Spacing, working_nm: float | None) -> Sequence[SliceRange | None]:
    """Return the columns of each strip; None alone where slices are small enough."""
    _, height, width = shape
    scale = 1.0 if working_nm is None else voxel_nm[1] * voxel_nm[2] / working_nm**2
    count = min(width, ceil(height * width * scale / SLICE_PX))
    if count <= 1:
        return [None]
    wide = ceil_div(width, count)
    return [(first, first + wide) for first in spread(width, wide, count)]


def parts_words(shape: Triple, parts: Sequence[Part], chosen: SliceRange | None = None) -> str | None:
    """Return what is read of a target, for people; None where it is all of it."""
    depth, _, width = shape
    blocks = {part.slices for part in parts}
    if blocks == {(0, depth)} and sum(_wide(part, width) for part in parts) >= width:
        return None
    if chosen is not None:
        return f"of the target's {depth} slices those from {chosen[0]} up to {chosen[1]} are read"
    thick = parts[0].slices[1] - parts[0].slices[0]
    strip = _wide(parts[0], width)
    of = "" if strip == width else f", {strip} of its {width} columns each"
    return (
        f"the target is large: of its {depth} slices {len(parts)} blocks of {thick} are read, spread over it"
        f"{of} (--target-slices FIRST,STOP names others)"
    )


def _wide(part: Part, width: int) -> int:
    return width if part.columns is None else part.columns[1] - part.columns[0]
