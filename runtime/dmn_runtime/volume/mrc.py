"""MRC (.mrc, .rec, .st, .map): mrcfile reads the header, the voxels are read where they lie."""

from pathlib import Path
from typing import Any

import numpy as np

from dmn_runtime.errors import VolumeError
from dmn_runtime.extras import require
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.volume.lengths import spacing
from dmn_runtime.volume.positional import PositionalFile, truncated
from dmn_runtime.volume.raw import RawSlices, read_raw
from dmn_runtime.volume.source import Source, VoxelType, accept_dtype
from dmn_runtime.volume.tiff import refuse_inner

HEADER_BYTES = 1024
NM_PER_ANGSTROM = 0.1
MODES: dict[int, VoxelType] = {0: np.dtype(np.uint8), 6: np.dtype(np.uint16)}
_MODE_NAMES = {
    1: "int16",
    2: "float32",
    3: "complex int16",
    4: "complex float32",
    12: "float16",
    101: "4-bit",
}

_IMOD_WORD = 38
"""Which 4-byte word of the header is the stamp of IMOD; the next one holds its flags."""
_IMOD_STAMP = 1146047817
_IMOD_SIGNED = 1
"""The flag by which IMOD says that its bytes are signed, as the standard of 2014 has them."""


def open_source(path: Path, inner: str | None) -> Source:
    """Open an MRC file of mode 0 or 6 as a volume.

    Bytes of mode 0 are signed by the MRC2014 standard: 128 is added, which keeps order and contrast. IMOD's
    stamp without its flag for signed bytes says that they are unsigned: they are taken as they are.

    Raises:
        VolumeError: another mode, a stack of volumes, or a file shorter than its header says.
        MissingExtra: mrcfile is not installed.
    """
    refuse_inner(path, inner)
    require("mrcfile", to=f"read {path}")
    header = _read_header(path)
    slices = _raw_slices(header, path)
    _refuse_truncated(slices, path)
    file = PositionalFile(path)
    return Source(
        format="MRC",
        shape=slices.shape,
        dtype=accept_dtype(slices.dtype, str(path)),
        voxel_nm=_spacing(header, slices.shape[0]),
        read=lambda region: read_raw(file, slices, region),
        files=lambda: (path,),
        close=file.close,
    )


def _read_header(path: Path) -> Any:
    from mrcfile.mrcfile import MrcFile

    with MrcFile(path, header_only=True) as opened:
        return opened.header


def _raw_slices(header: Any, path: Path) -> RawSlices:
    mode = int(header.mode)
    if mode not in MODES:
        name = _MODE_NAMES.get(mode, "unknown")
        raise VolumeError(
            f"{path} is of MRC mode {mode} ({name}), but mode 0 (8-bit) or 6 (uint16) is wanted: convert it "
            "(in IMOD: newstack -mode 0 or -mode 6)"
        )
    shape: Triple = (int(header.nz), int(header.ny), int(header.nx))
    if int(header.ispg) >= 401 and int(header.mz) not in (0, shape[0]):
        raise VolumeError(
            f"{path} holds {shape[0] // int(header.mz)} volumes, but one is wanted: save one in a file of "
            "its own"
        )
    dtype = MODES[mode].newbyteorder(header.mode.dtype.byteorder)
    slice_bytes = shape[1] * shape[2] * dtype.itemsize
    offsets = HEADER_BYTES + int(header.nsymbt) + slice_bytes * np.arange(shape[0], dtype=np.int64)
    return RawSlices(offsets, shape, dtype, is_signed=mode == 0 and not _is_unsigned_by_imod(header))


def _is_unsigned_by_imod(header: Any) -> bool:
    words = np.frombuffer(header.tobytes(), header.mode.dtype)
    stamp, flags = words[_IMOD_WORD], words[_IMOD_WORD + 1]
    return bool(stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED)


def _refuse_truncated(slices: RawSlices, path: Path) -> None:
    wanted = int(slices.offsets[-1]) + slices.shape[1] * slices.shape[2] * slices.dtype.itemsize
    found = path.stat().st_size
    if found < wanted:
        raise VolumeError(truncated(path, wanted, found))


def _spacing(header: Any, slices: int) -> Spacing | None:
    """Return cell size / sampling; a cell of exactly 1 Angstrom a voxel is the format's "not set"."""
    sampling = [int(header.mz), int(header.my), int(header.mx)]
    if min(sampling) < 1:
        return None
    cell = [float(header.cella.z), float(header.cella.y), float(header.cella.x)]
    angstrom = [a / n for a, n in zip(cell, sampling, strict=True)]
    if angstrom == [1.0, 1.0, 1.0]:
        return None
    z, y, x = (a * NM_PER_ANGSTROM for a in angstrom)
    return spacing(z, y, x, slices)
