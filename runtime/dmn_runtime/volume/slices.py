"""Folders of TIFF, PNG or JPEG slices, ordered by the numbers in their names; a lone picture is one slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.border import foreign_errors
from dmn_runtime.volume.decoded_cache import DecodedCache
from dmn_runtime.volume.natural_order import natural_key
from dmn_runtime.volume.picture import picture_layout, read_picture
from dmn_runtime.volume.positional import PositionalFile
from dmn_runtime.volume.source import Source, VoxelType, accept_dtype
from dmn_runtime.volume.tiff import TiffIndex, read_index, read_slices, refuse_inner
from dmn_runtime.volume.tiff_stack import SegmentGrid, SegmentKey, TiffStack, walk_bytes

KIND_OF_SUFFIX = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class SliceFile:
    """One slice: its kind, shape (y, x), type and, for a TIFF, where its pixels lie."""

    path: Path
    kind: str
    shape: tuple[int, int]
    dtype: VoxelType
    index: TiffIndex | None


def open_source(path: Path, inner: str | None) -> Source:
    """Open a folder of slices, or one PNG or JPEG, as a volume.

    Raises:
        VolumeError: no slices, several kinds of files, or slices that differ in shape or type.
    """
    refuse_inner(path, inner)
    paths, kind = list_slices(path) if path.is_dir() else ([path], KIND_OF_SUFFIX[path.suffix.lower()])
    return open_slices(paths, kind, f"folder of {kind} slices" if path.is_dir() else kind)


def open_slices(paths: Sequence[Path], kind: str, name: str) -> Source:
    """Open slices, in this order, as a volume.

    Args:
        paths: the files.
        kind: of all of them, "TIFF", "PNG" or "JPEG".
        name: of the format, for people.

    Raises:
        VolumeError: a slice cannot be read, or they differ in shape or type.
    """
    slices = [inspect_slice(p, kind, len(paths)) for p in paths]
    _refuse_differing(slices)
    first = slices[0]
    cache: DecodedCache[SegmentKey] = DecodedCache()
    return Source(
        format=name,
        shape=(len(slices), *first.shape),
        dtype=first.dtype,
        voxel_nm=None if first.index is None else first.index.voxel_nm,
        read=lambda region: _read(slices, region, cache),
        files=lambda: paths,
        close=cache.clear,
    )


def list_slices(folder: Path) -> tuple[list[Path], str]:
    """Return the slices of a folder in natural order and their kind, "TIFF", "PNG" or "JPEG".

    Raises:
        VolumeError: there are none, or several kinds.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in KIND_OF_SUFFIX and not p.name.startswith(".")]
    kinds = {KIND_OF_SUFFIX[p.suffix.lower()] for p in found}
    if not found:
        raise VolumeError(f"{folder} holds no slices: a folder of {' '.join(KIND_OF_SUFFIX)} files is wanted")
    if len(kinds) > 1:
        raise VolumeError(
            f"{folder} holds {' and '.join(sorted(kinds))} files, but slices of one kind are wanted: "
            "move the others away"
        )
    return sorted(found, key=lambda p: natural_key(p.name)), kinds.pop()


def inspect_slice(path: Path, kind: str, count: int) -> SliceFile:
    """Look at one slice of a volume of `count` slices, without decoding it.

    Raises:
        VolumeError: it cannot be read, or is not one grey slice.
    """
    # Translated for each slice, so that the sentence names the file and not the folder.
    with foreign_errors(str(path), kind):
        return _inspect_tiff(path, count) if kind == "TIFF" else _inspect_picture(path, kind)


def _inspect_tiff(path: Path, count: int) -> SliceFile:
    index = read_index(path, slice_of=count)
    depth, height, width = index.slices.shape
    if depth != 1:
        raise VolumeError(
            f"{path} holds {depth} slices, but in a folder each file is one slice: give the file itself, "
            "or split it"
        )
    return SliceFile(path, "TIFF", (height, width), accept_dtype(index.slices.dtype, str(path)), index)


def _inspect_picture(path: Path, kind: str) -> SliceFile:
    shape, dtype = picture_layout(path, kind)
    return SliceFile(path, kind, shape, dtype, None)


def _refuse_differing(slices: list[SliceFile]) -> None:
    for before, after in pairwise(slices):
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise VolumeError(
                f"{after.path} is {_describe(after)} while the slices before it are {_describe(before)}: "
                "all slices must have the same shape and type"
            )


def _describe(one: SliceFile) -> str:
    return f"{one.shape[0]}x{one.shape[1]} {one.dtype.name}"


def _read(slices: list[SliceFile], region: Region, cache: DecodedCache[SegmentKey]) -> Voxels:
    cache.make_room(walk_bytes(_grid(slices[0]), region, slices[0].dtype.itemsize))
    out: Voxels = np.empty(region.shape, slices[0].dtype)
    for target, z in zip(out, range(region.start[0], region.stop[0]), strict=True):
        one = slices[z]
        if one.index is None:
            target[...] = _cached_picture(one, z, cache)[region.slices[1:]]
        else:
            flat: Triple = (0, region.start[1], region.start[2])
            window = Region(flat, (1, region.stop[1], region.stop[2]))
            with PositionalFile(one.path) as file:
                target[...] = read_slices(file, one.index.slices, window, cache, z)[0]
    return out


def read_slice(one: SliceFile) -> Voxels:
    """Decode a whole slice, yx; the array is the caller's own.

    Raises:
        VolumeError: it is damaged or cut off, or changed since it was looked at.
    """
    with foreign_errors(str(one.path), one.kind):
        whole = Region((0, 0, 0), (1, *one.shape))
        return cast("Voxels", _read([one], whole, DecodedCache(0))[0])


def _grid(one: SliceFile) -> SegmentGrid:
    if one.index is not None and isinstance(one.index.slices, TiffStack):
        return one.index.slices.grid
    return SegmentGrid(one.shape, one.shape)


def _cached_picture(one: SliceFile, z: int, cache: DecodedCache[SegmentKey]) -> NDArray[np.generic]:
    pixels: NDArray[np.generic] = cache.get((z, 0, 0), lambda _: read_picture(one.path, one.kind))
    if pixels.shape != one.shape:
        raise VolumeError(f"{one.path} changed while it was read: start again")
    return pixels
