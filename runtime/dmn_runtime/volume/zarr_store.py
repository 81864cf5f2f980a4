"""OME-Zarr 0.4 and 0.5 images and plain Zarr arrays, version 2 and 3, in a local store."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.volume.array_axes import array_index, unnamed_axes, zyx_shape
from dmn_runtime.volume.inner_path import no_such, only_volume
from dmn_runtime.volume.lengths import spacing
from dmn_runtime.volume.multiscale import Multiscale, image_axes, read_multiscale
from dmn_runtime.volume.source import Source, accept_dtype

if TYPE_CHECKING:
    from zarr.core.array import Array as ZarrArray

    Array = ZarrArray[Any]


@dataclass(frozen=True)
class Chosen:
    """The array to read and the image that it belongs to, if any."""

    array: "Array"
    level: str
    image: Multiscale | None


def open_source(path: Path, inner: str | None) -> Source:
    """Open level 0 of an OME-Zarr image, or an array, as a volume.

    Raises:
        VolumeError: nothing at `inner`, several arrays to choose from, or not one grey volume.
    """
    chosen = _choose(path, inner)
    array, image = chosen.array, chosen.image
    name = f"{path}::{array.path}" if array.path else str(path)
    dtype = accept_dtype(array.dtype, name)
    axes = image_axes(image.axes, array.shape, name) if image else unnamed_axes(array.shape, name)
    shape = zyx_shape(array.shape, axes)
    mark = path / array.path / ("zarr.json" if array.metadata.zarr_format == 3 else ".zarray")

    def read(region: Region) -> NDArray[Any]:
        # A chunk that is not there is empty by the standard, so that a vanished store would read as zeros.
        if not mark.is_file():
            raise VolumeError(f"{name} vanished while it was read: check the disk or the network")
        voxels: Any = array[array_index(array.ndim, axes, region)]
        return np.reshape(voxels, region.shape)

    return Source(
        format=f"OME-Zarr {image.version}" if image else f"Zarr {array.metadata.zarr_format}",
        shape=shape,
        dtype=dtype,
        voxel_nm=_spacing(chosen, shape),
        read=read,
        files=lambda: _files(path / array.path),
        close=array.store.close,
    )


def _choose(path: Path, inner: str | None) -> Chosen:
    try:
        node = zarr.open(path, path=inner or "", mode="r")
    except FileNotFoundError:
        raise no_such(str(path), inner or "/", _arrays(zarr.open(path, mode="r"))) from None
    if isinstance(node, zarr.Array):
        return _with_parent(path, node)
    name = f"{path}::{inner}" if inner else str(path)
    image = read_multiscale(node.attrs.asdict(), name)
    level = image.levels[0] if image else only_volume(_arrays(node), name)
    array = node[level]
    if not isinstance(array, zarr.Array):
        raise VolumeError(f"{name} names {level!r} as its image, which is no array: name the array to read")
    return Chosen(array, level, image)


def _with_parent(path: Path, array: "Array") -> Chosen:
    """Look whether the array is a level of its group's image, which then knows its voxel size."""
    if not array.path:
        return Chosen(array, "", None)
    folder, _, level = array.path.rpartition("/")
    try:
        group = zarr.open_group(path, path=folder, mode="r")
    except FileNotFoundError:
        return Chosen(array, level, None)
    try:
        image = read_multiscale(group.attrs.asdict(), f"{path}::{folder}")
    except VolumeError:
        # To name the array is what we advise where the group cannot be read as an image.
        return Chosen(array, level, None)
    return Chosen(array, level, image if image and level in image.levels else None)


def _arrays(node: Any) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(node, zarr.Array):
        return [("/", node.shape)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zarr warns of every other file that lies in a store
        members = sorted(node.members(max_depth=None), key=lambda member: str(member[0]))
    return [(name, member.shape) for name, member in members if isinstance(member, zarr.Array)]


def _spacing(chosen: Chosen, shape: Triple) -> Spacing | None:
    if chosen.image is None:
        return None
    by_axis = dict(zip(chosen.image.axes, chosen.image.scale_nm[chosen.level], strict=True))
    return spacing(by_axis.get("z"), by_axis["y"], by_axis["x"], shape[0])


def _files(folder: Path) -> Iterator[Path]:
    """Yield every file of an array, in the order of their names below `folder`."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name
