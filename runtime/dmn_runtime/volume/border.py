"""The one border where the errors of foreign libraries become a VolumeError that names the file."""

import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from tifffile import TiffFileError

from dmn_runtime.errors import DmnError, VolumeError

FOREIGN = (
    OSError,  # the system, h5py, Pillow
    EOFError,
    TiffFileError,  # a ValueError only in newer versions
    ValueError,  # zarr, mrcfile, numpy, JSON
    TypeError,  # metadata of another type than the library expects
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,  # imagecodecs, numcodecs, h5py
    AssertionError,  # tifffile, for a type of pixel that it does not know
    SystemError,  # numcodecs, for a size below zero
    SyntaxError,  # Pillow, for a damaged PNG or JPEG
    MemoryError,  # a damaged size
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
"""What tifffile, zarr, h5py, mrcfile, Pillow and their codecs raise for a damaged or vanished file."""

REASON_CHARACTERS = 160


@contextmanager
def foreign_errors(path: str, format_name: str) -> Iterator[None]:
    """Translate what a library raises inside the block.

    Args:
        path: what the user named.
        format_name: the format that was tried.

    Raises:
        VolumeError: for any of `FOREIGN`; the original error is its cause.
    """
    try:
        yield
    except DmnError:
        raise
    except FOREIGN as error:
        raise VolumeError(
            f"{path} cannot be read as {format_name} ({_reason(error)}): it may be damaged or cut off, "
            "copy or export it again"
        ) from error


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0][:REASON_CHARACTERS]}" if lines else name
