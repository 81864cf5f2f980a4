"""The one door to every volume: `open_volume`."""

from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from pathlib import Path

from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.geometry import Spacing
from dmn_runtime.volume.base import Volume
from dmn_runtime.volume.border import foreign_errors
from dmn_runtime.volume.file_volume import FileVolume
from dmn_runtime.volume.source import Source


@dataclass(frozen=True)
class Format:
    """A format: its name, the module whose `open_source(path, inner)` reads it, and its suffixes."""

    name: str
    module: str
    suffixes: tuple[str, ...] = ()


TIFF = Format("TIFF", "dmn_runtime.volume.tiff", (".tif", ".tiff", ".btf", ".tf8"))
PNG = Format("PNG", "dmn_runtime.volume.slices", (".png",))
JPEG = Format("JPEG", "dmn_runtime.volume.slices", (".jpg", ".jpeg"))
HDF5 = Format("HDF5", "dmn_runtime.volume.hdf5", (".h5", ".hdf5", ".hdf"))
MRC = Format("MRC", "dmn_runtime.volume.mrc", (".mrc", ".rec", ".st", ".map"))
FOLDER = Format("folder of slices", "dmn_runtime.volume.slices")
ZARR = Format("Zarr", "dmn_runtime.volume.zarr_store")

FILE_FORMATS = (TIFF, PNG, JPEG, HDF5, MRC)
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
INNER = "::"
"""Separates a file or store from the path inside it."""


def open_volume(path: str | Path, *, voxel_nm: Spacing | None = None) -> Volume:
    """Open an image volume; docs/volumes.md is the table of formats.

    Args:
        path: a TIFF, PNG, JPEG, HDF5 or MRC file, a folder of TIFF, PNG or JPEG slices, or a Zarr store;
            HDF5 and Zarr take `file::path/inside`.
        voxel_nm: voxel size in nm, zyx; overrides what the file says.

    Returns:
        A volume of uint8 or uint16, zyx; close it, or use it in a `with` statement.

    Raises:
        VolumeError: the path does not exist, is of no known format, is damaged, or is not one grey volume.
        MissingExtra: the format or its compression needs an optional dependency.
        UsageError: `voxel_nm` is not three positive numbers.
    """
    text = str(path)
    if voxel_nm is not None:
        _check_spacing(voxel_nm)
    # A name may be too long, or a folder on the way closed to us, before any format is known.
    with foreign_errors(text, "a volume"):
        file, inner = split_inner(text)
        found = _find_format(file)
    module = import_module(found.module)
    with foreign_errors(text, found.name):
        source: Source = module.open_source(file, inner)
    if min(source.shape) < 1:
        source.close()
        raise VolumeError(f"{text} has the shape {source.shape} and no voxels: check the file")
    return FileVolume(text, source, voxel_nm)


def split_inner(text: str) -> tuple[Path, str | None]:
    """Split `file::path/inside` in two; a name that exists as it stands is not split."""
    head, mark, tail = text.partition(INNER)
    if not mark or Path(text).exists():
        return Path(text), None
    return Path(head), tail.strip("/")


def _find_format(file: Path) -> Format:
    if not file.exists():
        raise VolumeError(f"{file} does not exist: check the path")
    if file.is_dir():
        return _find_folder_format(file)
    for known in FILE_FORMATS:
        if file.suffix.lower() in known.suffixes:
            return known
    readable = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in FILE_FORMATS)
    raise VolumeError(
        f"{file} has the unknown suffix {file.suffix!r}: readable are {readable}, folders of TIFF, PNG "
        "or JPEG slices, and Zarr stores"
    )


def _find_folder_format(folder: Path) -> Format:
    if any((folder / mark).is_file() for mark in ZARR_MARKS):
        return ZARR
    if folder.suffix.lower() == ".zarr":
        raise VolumeError(
            f"{folder} is not a Zarr store: it holds none of {', '.join(ZARR_MARKS)}; "
            "check that it was copied whole"
        )
    return FOLDER


def _check_spacing(voxel_nm: Spacing) -> None:
    if len(voxel_nm) != 3 or not all(isfinite(nm) and nm > 0 for nm in voxel_nm):
        raise UsageError(f"the voxel size {voxel_nm} is not three positive lengths in nm (z, y, x)")
