"""How a volume's voxels lie in its file, in words: strips, tiles or chunks, and their compression."""

from pathlib import Path
from typing import Any

import tifffile
import zarr
from zarr.core.array import Array as ZarrArray  # zarr.Array is the same; this spelling is typed

from dmn_runtime.volume.base import Volume
from dmn_runtime.volume.multiscale import read_multiscale
from dmn_runtime.volume.open import split_inner


def layout_words(volume: Volume) -> str | None:
    """Return how an opened volume is laid out on disk; None for formats that have one layout only."""
    file, inner = split_inner(volume.path)
    if "Zarr" in volume.format:
        return _of_zarr(file, inner or "", volume.path)
    if "TIFF" in volume.format:
        return _of_tiff(file)
    return None


def _of_tiff(path: Path) -> str:
    slices = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next(file for file in slices if file.suffix.lower().startswith((".tif", ".btf", ".tf8")))
    with tifffile.TiffFile(first) as file:
        page = file.pages.first
        packing = (
            "uncompressed"
            if page.compression == 1
            else f"{tifffile.COMPRESSION(page.compression).name.lower()} compression"
        )
        if page.is_tiled:
            return f"tiles of {page.tilelength} x {page.tilewidth} px, {packing}"
        if page.rowsperstrip >= page.imagelength:
            return f"whole slices, {packing}"
        return f"strips of {page.rowsperstrip} rows, {packing}"


def _of_zarr(path: Path, inner: str, name: str) -> str:
    node = zarr.open(path, path=inner, mode="r")
    array = node if isinstance(node, zarr.Array) else _finest(node, name)
    chunks = f"chunks of {_times(array.chunks)}"
    return f"{chunks} in shards of {_times(array.shards)}" if array.shards else chunks


def _finest(group: zarr.Group, name: str) -> ZarrArray[Any]:
    image = read_multiscale(group.attrs.asdict(), name)
    found = group[image.levels[0]] if image else next(array for _, array in group.arrays())
    assert isinstance(found, zarr.Array)  # open_volume has read it
    return found


def _times(edges: tuple[int, ...]) -> str:
    return " x ".join(str(edge) for edge in edges)
