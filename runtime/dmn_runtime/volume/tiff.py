"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks: tifffile finds the slices, we read only what is asked."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import calcsize, unpack

import numpy as np
import tifffile
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.extras import is_present, require
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.decoded_cache import DecodedCache
from dmn_runtime.volume.positional import PositionalFile, truncated
from dmn_runtime.volume.raw import RawSlices, read_raw
from dmn_runtime.volume.source import READABLE, Source, VoxelType, accept_dtype
from dmn_runtime.volume.tiff_scale import tiff_spacing
from dmn_runtime.volume.tiff_stack import SegmentGrid, SegmentKey, TiffStack, read_segments

# tifffile logs what it finds wrong; the user is told by our sentence instead. Loggers that the application
# has configured still hear it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MIN_IS_BLACK = 1


@dataclass(frozen=True)
class TiffIndex:
    """Where everything lies in one TIFF; values only, no open file.

    Attributes:
        format: one word or two for people.
        slices: the slices, uncompressed at known offsets or in strips and tiles.
        voxel_nm: zyx; None where the file does not say.
    """

    format: str
    slices: RawSlices | TiffStack
    voxel_nm: Spacing | None


def open_source(path: Path, inner: str | None) -> Source:
    """Open one TIFF file as a volume.

    Raises:
        VolumeError: the file is truncated, or is not one grey volume of uint8 or uint16.
        MissingExtra: its compression needs imagecodecs.
    """
    refuse_inner(path, inner)
    index = read_index(path)
    file = PositionalFile(path)
    cache: DecodedCache[SegmentKey] = DecodedCache()

    def close() -> None:
        file.close()
        cache.clear()

    return Source(
        format=index.format,
        shape=index.slices.shape,
        dtype=accept_dtype(index.slices.dtype, str(path)),
        voxel_nm=index.voxel_nm,
        read=lambda region: read_slices(file, index.slices, region, cache),
        files=lambda: (path,),
        close=close,
    )


def refuse_inner(path: Path, inner: str | None) -> None:
    """Refuse `file::path` for formats that hold one image.

    Raises:
        VolumeError: `inner` was given.
    """
    if inner is not None:
        raise VolumeError(
            f"{path} has no datasets inside, but ::{inner} was asked for: leave it out "
            "(it is for HDF5 and Zarr)"
        )


def read_slices(
    file: PositionalFile,
    slices: RawSlices | TiffStack,
    region: Region,
    cache: DecodedCache[SegmentKey],
    file_number: int = 0,
) -> Voxels:
    """Return the voxels of `region`, zyx, by the way that the encoding asks for."""
    if isinstance(slices, RawSlices):
        return read_raw(file, slices, region)
    return read_segments(file, slices, region, cache, file_number)


def read_index(path: Path, *, slice_of: int | None = None) -> TiffIndex:
    """Read where the slices of a TIFF lie, and check cheaply that they are all there.

    Args:
        path: the file.
        slice_of: where the file is one slice of a folder, how many there are; what an OME description says of
            the other files is then not looked at.
    """
    with _open(path, slice_of) as tiff:
        _refuse_broken_chain(tiff, path)
        if not _are_equal_images(tiff.series):
            return _index(tiff, path, slice_of)
    # tifffile describes images that were written one by one as so many series; undescribed, they are a stack.
    with _open(path, slice_of, is_shaped=False) as tiff:
        return _index(tiff, path, slice_of)


def _open(path: Path, slice_of: int | None, *, is_shaped: bool | None = None) -> tifffile.TiffFile:
    return tifffile.TiffFile(path, is_ome=None if slice_of is None else False, is_shaped=is_shaped)


def _index(tiff: tifffile.TiffFile, path: Path, slice_of: int | None) -> TiffIndex:
    number = _choose_series(tiff.series, path)
    series = tiff.series[number]
    _refuse_lost_description(tiff, series, path)
    _refuse_colour(series, path)
    dtype = accept_dtype(series.keyframe.dtype, str(path))
    shape = _zyx(series, path)
    slices = _raw_slices(series, shape, dtype, path) or _segments(series, shape, dtype, path)
    return TiffIndex(_format(tiff), slices, tiff_spacing(tiff, number, slice_of or shape[0]))


def _refuse_lost_description(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse an ImageJ file for which tifffile falls back to its pages because slices are missing."""
    if tiff.is_imagej and series.kind in ("uniform", "generic"):
        raise VolumeError(
            f"{path} holds fewer slices than its ImageJ description names: it is truncated, "
            "copy or export it again"
        )


def _format(tiff: tifffile.TiffFile) -> str:
    if tiff.is_ome:
        return "OME-TIFF"
    if tiff.is_imagej:
        return "ImageJ TIFF"
    return "BigTIFF" if tiff.is_bigtiff else "TIFF"


def _refuse_broken_chain(tiff: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file whose list of pages goes on beyond its end, which tifffile takes as the last page."""
    if len(tiff.pages) == 0:
        raise VolumeError(
            f"{path} is truncated: it ends at byte {tiff.filehandle.size}, before its list of pages; "
            "copy or export it again"
        )
    layout = tiff.tiff
    last = tiff.pages[-1].offset
    head = _read_at(tiff, last, layout.tagnosize)
    entries = unpack(layout.tagnoformat, head)[0]
    next_at = last + layout.tagnosize + entries * layout.tagsize
    following = unpack(layout.offsetformat, _read_at(tiff, next_at, calcsize(layout.offsetformat)))[0]
    if following != 0:
        raise VolumeError(truncated(path, following, tiff.filehandle.size))


def _read_at(tiff: tifffile.TiffFile, offset: int, count: int) -> bytes:
    tiff.filehandle.seek(offset)
    data: bytes = tiff.filehandle.read(count)
    if len(data) < count:
        raise VolumeError(truncated(tiff.filehandle.path, offset + count, tiff.filehandle.size))
    return data


def _are_equal_images(series: Sequence[tifffile.TiffPageSeries]) -> bool:
    """Tell whether tifffile's own description names several 2-D images of one shape and type."""
    kinds = {(s.kind, s.dtype, s.shape) for s in series}
    return len(series) > 1 and len(kinds) == 1 and series[0].kind == "shaped" and series[0].ndim == 2


def _choose_series(series: Sequence[tifffile.TiffPageSeries], path: Path) -> int:
    """Return the number of the image to take: the only one, or the only 3-D one of an OME-TIFF."""
    if len(series) == 1:
        return 0
    stacks = [i for i, s in enumerate(series) if len(_long_axes(s)) >= 3]
    if len(stacks) == 1 and series[0].kind == "ome":
        return stacks[0]
    listed = ", ".join("x".join(map(str, s.shape)) for s in series[:8])
    raise VolumeError(
        f"{path} holds {len(series)} images ({listed}), but one volume is wanted: "
        "save the one to segment in a file of its own"
    )


def _long_axes(series: tifffile.TiffPageSeries) -> dict[str, int]:
    """Return the axes that matter: y, x and all that are longer than 1."""
    full = zip(series.get_axes(False), series.get_shape(False), strict=True)
    return {axis: n for axis, n in full if axis in "YX" or n != 1}


def _refuse_colour(series: tifffile.TiffPageSeries, path: Path) -> None:
    page = series.keyframe
    if page.samplesperpixel > 1:
        raise VolumeError(
            f"{path} holds {page.samplesperpixel} channels a pixel (RGB or several detectors), but one grey "
            f"channel is wanted: save one channel, or {READABLE}"
        )
    if page.photometric != MIN_IS_BLACK:
        raise VolumeError(
            f"{path} stores its pixels as {_name(page.photometric)}, but plain grey values with 0 = black "
            "are wanted: save it as 8-bit or 16-bit grey (in Fiji: Image > Lookup Tables > Grays)"
        )


def _zyx(series: tifffile.TiffPageSeries, path: Path) -> Triple:
    """Return the shape of a series whose one leading axis is slices, whatever it is called but C and T."""
    axes = _long_axes(series)
    leading = [axis for axis in axes if axis not in "YX"]
    if {"C", "T"} & set(leading) or len(leading) > 1 or len(series.keyframe.shape) != 2:
        found = ", ".join(f"{axis}={n}" for axis, n in axes.items())
        raise VolumeError(
            f"{path} has the axes {found}, but one stack of slices is wanted: save one channel and one "
            "time point, or declare the images as slices (in Fiji: Image > Properties)"
        )
    depth = axes[leading[0]] if leading else 1
    return (depth, axes["Y"], axes["X"])


def _name(code: int) -> str:
    """Return the name of a TIFF code, or its number where it has none."""
    return str(getattr(code, "name", code))


def _raw_slices(
    series: tifffile.TiffPageSeries, shape: Triple, dtype: VoxelType, path: Path
) -> RawSlices | None:
    """Return where uncompressed slices lie, or None if they must be decoded."""
    page = series.keyframe
    if not page.is_final or page.bitspersample != dtype.itemsize * 8:
        return None
    page_bytes = shape[1] * shape[2] * dtype.itemsize
    if series.dataoffset is not None:
        offsets = series.dataoffset + page_bytes * np.arange(shape[0], dtype=np.int64)
    else:
        offsets = np.array([p.dataoffsets[0] for p in _pages(series, shape, path)], np.int64)
    _refuse_beyond_end(series, offsets, page_bytes, path)
    return RawSlices(offsets, shape, dtype.newbyteorder(page.parent.byteorder))


def _segments(series: tifffile.TiffPageSeries, shape: Triple, dtype: VoxelType, path: Path) -> TiffStack:
    page = series.keyframe
    _refuse_codec(page, path)
    strip = (min(page.rowsperstrip, shape[1]), shape[2])
    grid = SegmentGrid(shape[1:], (page.tilelength, page.tilewidth) if page.is_tiled else strip)
    pages = _pages(series, shape, path)
    for z, p in enumerate(pages):
        if {len(p.dataoffsets), len(p.databytecounts)} != {grid.count}:
            raise VolumeError(
                f"{path} is damaged: slice {z} lists {len(p.dataoffsets)} strips or tiles where "
                f"{grid.count} are wanted; copy or export it again"
            )
    offsets = np.array([p.dataoffsets for p in pages], np.int64)
    counts = np.array([p.databytecounts for p in pages], np.int64)
    _refuse_empty(counts, path)
    _refuse_beyond_end(series, offsets, counts, path)
    tables = tuple(p.jpegtables for p in pages)
    return TiffStack(
        grid=grid,
        shape=shape,
        dtype=dtype,
        offsets=offsets,
        counts=counts,
        decode=page.decode,
        jpeg_tables=tables if any(tables) else (),
    )


def _pages(
    series: tifffile.TiffPageSeries, shape: Triple, path: Path
) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    """Return one page a slice, all in this file."""
    if series.is_multifile:
        raise VolumeError(
            f"{path} is one of several files of an OME-TIFF, but one file is wanted: open the folder that "
            "holds the slices, or save them as one file"
        )
    pages = [page for page in series.pages if page is not None]
    if len(pages) != shape[0]:
        raise VolumeError(
            f"{path} holds {len(pages)} of the {shape[0]} slices that its description names: it is "
            "truncated, copy or export it again"
        )
    return pages


def _refuse_codec(page: tifffile.TiffPage, path: Path) -> None:
    """Ask tifffile for the decoder now, so that a long run does not start without it."""
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        if not is_present("imagecodecs"):
            require("imagecodecs", to=f"read {_name(page.compression)} compression in {path}")
        raise VolumeError(
            f"{path} is compressed in a way that cannot be read ({error}): save it with deflate, LZW or no "
            "compression"
        ) from error


def _refuse_empty(counts: NDArray[np.int64], path: Path) -> None:
    empty = np.argwhere(counts == 0)
    if len(empty):
        raise VolumeError(
            f"{path} is not complete: slice {empty[0][0]} has a strip or tile without data; export it again"
        )


def _refuse_beyond_end(
    series: tifffile.TiffPageSeries, offsets: NDArray[np.int64], counts: NDArray[np.int64] | int, path: Path
) -> None:
    wanted = int((offsets + counts).max())
    found = int(series.keyframe.parent.filehandle.size)
    if wanted > found:
        raise VolumeError(truncated(path, wanted, found))
