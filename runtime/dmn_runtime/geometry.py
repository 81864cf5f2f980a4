"""Value types for space: integers, axis order zyx, half-open.

Triple  (z, y, x)
Region  [start, stop) on one grid; may reach outside the volume, where reads are reflected
"""

from dataclasses import dataclass
from math import prod

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
"""Voxel edge lengths in nm, zyx."""


@dataclass(frozen=True, order=True)
class Region:
    """A box of voxels, zyx, `start` inclusive and `stop` exclusive."""

    start: Triple
    stop: Triple

    @property
    def shape(self) -> Triple:
        """Edge lengths in voxels, zyx."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of an array whose origin is the grid's."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def shifted(self, offset: Triple) -> "Region":
        """Return the box moved by `offset` voxels."""
        return Region(_add(self.start, offset), _add(self.stop, offset))

    def relative_to(self, origin: Triple) -> "Region":
        """Return the same box seen from `origin`."""
        return self.shifted((-origin[0], -origin[1], -origin[2]))

    def grown(self, margin: Triple) -> "Region":
        """Return the box with `margin` voxels more on both sides of each axis."""
        return Region(_add(self.start, (-margin[0], -margin[1], -margin[2])), _add(self.stop, margin))

    def contains(self, other: "Region") -> bool:
        """Tell whether `other` lies inside this box."""
        return all(a <= b for a, b in zip(self.start, other.start, strict=True)) and all(
            a >= b for a, b in zip(self.stop, other.stop, strict=True)
        )


def whole(shape: Triple) -> Region:
    """Return the region that covers a volume of `shape` voxels."""
    return Region((0, 0, 0), shape)


def ceil_div(a: int, b: int) -> int:
    """Divide, rounding up."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `a`."""
    return ceil_div(a, multiple) * multiple


def round_down(a: int, multiple: int) -> int:
    """Return the largest multiple of `multiple` that is not above `a`."""
    return a // multiple * multiple


def _add(a: Triple, b: Triple) -> Triple:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])
