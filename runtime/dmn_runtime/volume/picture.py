"""One grey PNG or JPEG slice."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.source import READABLE, VoxelType

# Not Image.open: its limit of 179 Mpixel stands against hostile images and EM slices are larger.
_READER_OF_KIND: dict[str, type[ImageFile]] = {"PNG": PngImageFile, "JPEG": JpegImageFile}
_DTYPE_OF_MODE: dict[str, VoxelType] = {"L": np.dtype(np.uint8), "I;16": np.dtype(np.uint16)}


def picture_layout(path: Path, kind: str) -> tuple[tuple[int, int], VoxelType]:
    """Return shape (y, x) and type of a picture of a kind, "PNG" or "JPEG", from its header.

    Raises:
        VolumeError: it is not 8-bit or 16-bit grey.
    """
    with _READER_OF_KIND[kind](path) as image:
        if image.mode not in _DTYPE_OF_MODE:
            raise VolumeError(
                f"{path} is a {kind} of mode {image.mode}, but 8-bit or 16-bit grey is wanted: {READABLE}"
            )
        return (image.height, image.width), _DTYPE_OF_MODE[image.mode]


def read_picture(path: Path, kind: str) -> NDArray[Any]:
    """Return the pixels of a grey picture of a kind, "PNG" or "JPEG", yx."""
    with _READER_OF_KIND[kind](path) as image:
        pixels: NDArray[Any] = np.asarray(image, _DTYPE_OF_MODE[image.mode])
        return pixels
