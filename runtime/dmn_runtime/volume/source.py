"""What a format's module hands over: a volume's facts and the three functions that serve it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Spacing, Triple

VoxelType = np.dtype[np.uint8] | np.dtype[np.uint16]
READABLE = "convert it to uint8 or uint16 first (in Fiji: Image > Type > 8-bit)"


@dataclass(frozen=True)
class Source:
    """An opened file behind a `FileVolume`; its functions may raise what the libraries raise.

    Attributes:
        format: one word or two for people.
        shape: voxels, zyx.
        dtype: uint8 or uint16, native byte order.
        voxel_nm: voxel size in nm, zyx; None where the file does not say.
        read: region inside the volume -> its voxels, zyx; thread safe.
        files: every file that holds voxels or their description, in an order free of the path.
        close: lets go of the file; called once.
    """

    format: str
    shape: Triple
    dtype: VoxelType
    voxel_nm: Spacing | None
    read: Callable[[Region], NDArray[Any]]
    files: Callable[[], Iterable[Path]]
    close: Callable[[], None]


def accept_dtype(dtype: np.dtype[np.generic] | None, path: str) -> VoxelType:
    """Return uint8 or uint16 in native byte order.

    Raises:
        VolumeError: any other type, with the way to convert it.
    """
    native = None if dtype is None else dtype.newbyteorder("=")
    if native == np.uint8:
        return np.dtype(np.uint8)
    if native == np.uint16:
        return np.dtype(np.uint16)
    found = "unknown" if native is None else native.name
    raise VolumeError(f"{path} holds {found} voxels, but uint8 or uint16 is wanted: {READABLE}")
