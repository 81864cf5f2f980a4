"""What OME-Zarr metadata says: which array is level 0, what its axes are, how large a voxel is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.array_axes import Axes
from dmn_runtime.volume.lengths import nm_per

VERSIONS = ("0.4", "0.5")


@dataclass(frozen=True)
class Multiscale:
    """One image of an OME-Zarr group.

    Attributes:
        version: "0.4" or "0.5".
        axes: names in the order of the arrays' axes.
        scale_nm: of each level's path, nm along each axis; None where the axis has no unit of length.
        levels: paths of the arrays, finest first.
    """

    version: str
    axes: tuple[str, ...]
    scale_nm: Mapping[str, tuple[float | None, ...]]
    levels: tuple[str, ...]


def read_multiscale(attributes: Mapping[str, Any], path: str) -> Multiscale | None:
    """Return the image that a group's attributes describe, or None if they describe none.

    Raises:
        VolumeError: several images, or another version than 0.4 and 0.5.
    """
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales")
    if not images:
        return None
    if len(images) > 1:
        raise VolumeError(
            f"{path} holds {len(images)} multiscale images, but one is wanted: name the array to read "
            f"(as {path}::0)"
        )
    image = images[0]
    version = str(ome.get("version") or image.get("version", "0.4"))
    if version not in VERSIONS:
        raise VolumeError(
            f"{path} is OME-Zarr {version}, but 0.4 or 0.5 is wanted: name the array to read (as {path}::0)"
        )
    axes = image["axes"]
    common = _scale(image.get("coordinateTransformations", ()), len(axes))
    units = [nm_per(str(axis.get("unit", ""))) if axis["name"] in ("z", "y", "x") else None for axis in axes]
    scale_nm = {}
    for level in image["datasets"]:
        own = _scale(level["coordinateTransformations"], len(axes))
        scale_nm[level["path"]] = tuple(
            None if unit is None else unit * a * b for unit, a, b in zip(units, own, common, strict=True)
        )
    names = tuple(axis["name"] for axis in axes)
    return Multiscale(version, names, scale_nm, tuple(scale_nm))


def image_axes(names: Sequence[str], shape: Sequence[int], path: str) -> Axes:
    """Return the numbers of the axes z, y, x (or y, x) of an image.

    Raises:
        VolumeError: they are not in this order, or another axis is longer than 1.
    """
    space = tuple(number for number, name in enumerate(names) if name in ("z", "y", "x"))
    order = "".join(names[number] for number in space)
    others = [n for number, n in enumerate(shape) if number not in space]
    if len(names) != len(shape) or order not in ("zyx", "yx") or any(n != 1 for n in others):
        raise VolumeError(
            f"{path} has the axes {', '.join(names)} of the shape {tuple(shape)}, but z, y, x in this order "
            "and no more than one channel and one time point are wanted: save one channel and one time point"
        )
    return space


def _scale(transformations: Sequence[Mapping[str, Any]], count: int) -> list[float]:
    """Return the scale of a list of transformations, one factor an axis; translations do not matter."""
    for one in transformations:
        if one["type"] == "scale":
            return [float(factor) for factor in one["scale"]]
    return [1.0] * count
