"""Which axes of an array are z, y and x, and the index that cuts a region out of it."""

from collections.abc import Sequence

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Triple

Axes = tuple[int, ...]
"""The numbers of an array's axes z, y, x, or y, x for a single slice; its other axes have length 1."""


def unnamed_axes(shape: Sequence[int], path: str) -> Axes:
    """Return the axes that are z, y, x where nothing but the shape tells.

    Up to three axes are taken as they are. Of more, axes of length 1 are dropped until three are left: the
    first ones, then the last ones, then those between.

    Raises:
        VolumeError: more than three axes are longer than 1, or fewer than two axes.
    """
    axes = list(range(len(shape)))
    single = [axis for axis in axes if shape[axis] == 1]
    leading = [axis for axis in single if all(n == 1 for n in shape[:axis])]
    trailing = [axis for axis in reversed(single) if all(n == 1 for n in shape[axis:])]
    for axis in dict.fromkeys([*leading, *trailing, *single]):
        if len(axes) > 3:
            axes.remove(axis)
    if not 2 <= len(axes) <= 3:
        raise VolumeError(
            f"{path} has the shape {tuple(shape)}, but a volume (z, y, x) or an image (y, x) is wanted: "
            "save one channel and one time point"
        )
    return tuple(axes)


def zyx_shape(shape: Sequence[int], axes: Axes) -> Triple:
    """Return the extent along z, y and x; a single slice has z = 1."""
    z, y, x = (1,) * (3 - len(axes)) + tuple(shape[axis] for axis in axes)
    return (z, y, x)


def array_index(axis_count: int, axes: Axes, region: Region) -> tuple[slice | int, ...]:
    """Return the index that cuts `region` out of an array.

    What comes out holds the voxels of the region in C order; for a single slice it has two axes.
    """
    index: list[slice | int] = [0] * axis_count
    for axis, extent in zip(axes, region.slices[3 - len(axes) :], strict=True):
        index[axis] = extent
    return tuple(index)
