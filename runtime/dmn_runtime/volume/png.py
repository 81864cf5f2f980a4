"""One grey PNG slice."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.source import READABLE, VoxelType

_DTYPE_OF_MODE: dict[str, VoxelType] = {"L": np.dtype(np.uint8), "I;16": np.dtype(np.uint16)}


def png_layout(path: Path) -> tuple[tuple[int, int], VoxelType]:
    """Return shape (y, x) and type of a PNG from its header.

    Raises:
        VolumeError: it is not 8-bit or 16-bit grey.
    """
    with _open(path) as image:
        if image.mode not in _DTYPE_OF_MODE:
            raise VolumeError(
                f"{path} is a PNG of mode {image.mode}, but 8-bit or 16-bit grey is wanted: {READABLE}"
            )
        return (image.height, image.width), _DTYPE_OF_MODE[image.mode]


def read_png(path: Path) -> NDArray[Any]:
    """Return the pixels of a grey PNG, yx."""
    with _open(path) as image:
        pixels: NDArray[Any] = np.asarray(image, _DTYPE_OF_MODE[image.mode])
        return pixels


def _open(path: Path) -> PngImageFile:
    # Not Image.open: its limit of 179 Mpixel stands against hostile images and EM slices are larger.
    return PngImageFile(path)
