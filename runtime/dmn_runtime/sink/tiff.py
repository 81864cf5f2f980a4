"""Two uncompressed TIFF stacks, NAME.tif (mask) and NAME.probability.tif, with the voxel size in OME-XML.

tifffile lays both files out in full; then only voxels are put in their places, with plain positional writes.
A memory map would count every written page as the process's own memory and grow with the volume.
"""

import os
import threading
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, final
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import tifffile
from numpy.typing import NDArray

from dmn_runtime.errors import ResumeError
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.block import check_block
from dmn_runtime.sink.disk import remove, require_space, translate_os_errors
from dmn_runtime.sink.paths import final_paths, partial_path

BIG_FROM_BYTES = 2**31 - 2**25
"""From here on BigTIFF: classic offsets reach 4 GiB, but many readers keep them in signed 32 bits."""
_PIECE_BYTES = 16 * 2**20
_ANEW = "start anew with --overwrite"
_DIRECTORY_BYTES = 512
"""More than one page's directory takes up, also in BigTIFF."""


@final
class TiffSink:
    """Two TIFF stacks under construction. See `dmn_runtime.sink.base.Sink`."""

    def __init__(self, spec: SinkSpec, *, resume: bool) -> None:
        self.spec = spec
        if resume:
            _take_back(spec)
        else:
            _create(spec)
        paths = [_under_construction(spec, path) for path in final_paths(spec.path)]
        # both are looked at before one is opened, so that a damaged one leaves no open file
        origins = [_origin(path, spec.shape) for path in paths]
        self._probability, self._mask = (
            _Stack(path, origin, spec.shape) for path, origin in zip(paths, origins, strict=True)
        )

    def write(self, region: Region, probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Put the block's rows in their places in both files."""
        check_block(self.spec, region, probability, mask)
        with translate_os_errors(self.spec.path, resumable=True):
            self._probability.write(region, probability)
            self._mask.write(region, mask)
            self._probability.sync()
            self._mask.sync()

    def finish(self) -> None:
        """Move both files to their final paths, the mask last: where it is new, the output is complete."""
        self.close()
        with translate_os_errors(self.spec.path, resumable=True):
            for path in final_paths(self.spec.path):
                _under_construction(self.spec, path).replace(path)
            remove(partial_path(self.spec.path))

    def close(self) -> None:
        """Close both files."""
        self._probability.close()
        self._mask.close()


@final
class _Stack:
    """The voxels of one TIFF laid out by `_lay_out`, written by region from any thread."""

    def __init__(self, path: Path, origin: int, shape: Triple) -> None:
        self._shape = shape
        self._origin = origin
        self._file = path.open("r+b", buffering=0)
        self._lock = threading.Lock()

    def write(self, region: Region, voxels: NDArray[np.uint8]) -> None:
        offsets, length = runs(self._shape, region)
        rows = np.ascontiguousarray(voxels).reshape(-1).data
        with self._lock:
            for index, offset in enumerate(offsets):
                self._file.seek(self._origin + offset)
                self._put(rows[index * length : (index + 1) * length])

    def _put(self, row: memoryview) -> None:
        # an unbuffered write may stop early, as it does before it says that the disk is full
        while row:
            row = row[self._file.write(row) :]

    def sync(self) -> None:
        # the ledger's line must not reach the disk before the voxels do
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def runs(shape: Triple, region: Region) -> tuple[Iterator[int], int]:
    """Plan the writes of a region into a C-contiguous volume: offsets in ascending order, and one length.

    Rows that follow each other in the volume are one run.

    Args:
        shape: voxels of the volume, zyx.
        region: what is written; lies inside the volume.
    """
    _, height, width = shape
    (z0, y0, x0), (z1, y1, x1) = region.start, region.stop
    if x1 - x0 < width:
        return ((z * height + y) * width + x0 for z in range(z0, z1) for y in range(y0, y1)), x1 - x0
    if y1 - y0 < height:
        return ((z * height + y0) * width for z in range(z0, z1)), (y1 - y0) * width
    return iter((z0 * height * width,)), (z1 - z0) * height * width


def _under_construction(spec: SinkSpec, path: Path) -> Path:
    """Return where one of the two files stands until the output is finished."""
    return partial_path(spec.path) / path.name


def _create(spec: SinkSpec) -> None:
    require_space(spec.path, 2 * _file_bytes(spec.shape))
    for path in final_paths(spec.path):
        _lay_out(_under_construction(spec, path), spec)


def _file_bytes(shape: Triple) -> int:
    return prod(shape) + shape[0] * _DIRECTORY_BYTES


def resize(spec: SinkSpec) -> None:
    """Give the partial output that is there the depth of `spec`; slices that both have keep their voxels.

    Killed anywhere, it can be done again, to this or another depth.

    Raises:
        ResumeError: a file is damaged or differs in more than its depth.
        OutputError, OSError: it cannot be written.
    """
    _take_back(spec)
    for path in final_paths(spec.path):
        old = _under_construction(spec, path)
        origin, found = _layout(old)
        if found[1:] != spec.shape[1:]:
            raise ResumeError(f"{old} holds {found} voxels, this run writes {spec.shape}: {_ANEW}")
        if found[0] != spec.shape[0]:
            require_space(spec.path, _file_bytes(spec.shape))
            new = old.with_name(old.name + ".new")
            _lay_out(new, spec, old.name)
            _copy(old, origin, new, _layout(new)[0], prod(spec.shape[1:]) * min(found[0], spec.shape[0]))
            new.replace(old)


def _copy(source: Path, source_at: int, target: Path, target_at: int, count: int) -> None:
    """Copy `count` bytes from one file into another, piece by piece."""
    with source.open("rb") as read, target.open("r+b") as written:
        read.seek(source_at)
        written.seek(target_at)
        while count:
            piece = read.read(min(count, _PIECE_BYTES))
            if not piece:
                raise ResumeError(f"{source} is cut off: {_ANEW}")
            written.write(piece)
            count -= len(piece)
        written.flush()
        os.fsync(written.fileno())


def _lay_out(path: Path, spec: SinkSpec, name: str | None = None) -> None:
    """Write a TIFF whose voxels are a hole in the file: all zero, and no disk space used yet.

    `name` is the name in its description where it is to bear another than now.
    """
    tifffile.imwrite(
        path,
        shape=spec.shape,
        dtype="uint8",
        photometric="minisblack",
        bigtiff=_file_bytes(spec.shape) >= BIG_FROM_BYTES,
        ome=True,
        metadata=_metadata(name or path.name, spec),
    )


def _metadata(name: str, spec: SinkSpec) -> dict[str, Any]:
    # tifffile's own identifier holds the clock; this one, and so the file, is the same for the same output
    identity = uuid5(NAMESPACE_OID, f"{name} {spec.shape} {spec.voxel_nm} {spec.classes} {spec.threshold}")
    metadata: dict[str, Any] = {"axes": "ZYX", "UUID": str(identity), "Name": name}
    for axis, edge_nm in zip("ZYX", spec.voxel_nm or (), strict=False):
        metadata |= {f"PhysicalSize{axis}": float(edge_nm), f"PhysicalSize{axis}Unit": "nm"}
    return metadata


def _origin(path: Path, shape: Triple) -> int:
    """Return the offset of the first voxel; all others follow it in order.

    Raises:
        ResumeError: the file is not the one that `_lay_out` made.
    """
    origin, found = _layout(path)
    if found != shape or path.stat().st_size < origin + prod(shape):
        raise ResumeError(f"{path} holds {found} voxels, this run writes {shape}: {_ANEW}")
    return origin


def _layout(path: Path) -> tuple[int, tuple[int, ...]]:
    """Return the offset of the first voxel of a TIFF laid out here, and its shape, zyx."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages[0].dataoffsets[0], (len(tiff.pages), *tiff.pages[0].shape)
    except (tifffile.TiffFileError, IndexError) as error:
        raise ResumeError(f"{path} is damaged ({error}): {_ANEW}") from error


def _take_back(spec: SinkSpec) -> None:
    """Undo the half of `finish` that a killed run got through: both files are under construction again."""
    for path in final_paths(spec.path):
        partial = _under_construction(spec, path)
        if not partial.exists() and path.exists():
            path.rename(partial)
