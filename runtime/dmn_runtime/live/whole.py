"""Is a picture whole? Decoders take zeros for pixels, and a copy over a network begins as a file of zeros.

An uncompressed TIFF has nothing by which its pixels could be told from zeros: there, size and time must do.
"""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.border import foreign_errors

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIECE_BYTES = 2**20
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def require_whole(path: Path, kind: str) -> None:
    """Refuse a PNG without all its chunks (ISO/IEC 15948, 5.3), or a JPEG without its end (ITU-T T.81, B.1).

    Args:
        path: the file.
        kind: "TIFF", "PNG" or "JPEG".

    Raises:
        VolumeError: it is not whole, or cannot be read.
    """
    is_whole = {"PNG": _is_whole_png, "JPEG": _is_whole_jpeg}.get(kind)
    if is_whole is None:
        return
    with foreign_errors(str(path), kind), path.open("rb") as file:
        if not is_whole(file):
            raise VolumeError(
                f"{path} is not a whole {kind}: it may be damaged or cut off, copy or export it again"
            )


def _is_whole_png(file: BinaryIO) -> bool:
    """Tell whether every chunk up to the last one has the CRC-32 that stands behind it."""
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        return False
    while True:
        head = file.read(8)
        if len(head) < 8:
            return False
        length, kind = struct.unpack(">I4s", head)
        crc = zlib.crc32(kind)
        while length:
            piece = file.read(min(length, PIECE_BYTES))
            if not piece:
                return False
            crc = zlib.crc32(piece, crc)
            length -= len(piece)
        if file.read(4) != struct.pack(">I", crc):
            return False
        if kind == b"IEND":
            return True


def _is_whole_jpeg(file: BinaryIO) -> bool:
    """Tell whether the image ends: within a scan 0xff is followed by 0, so no pixel looks like the end."""
    content = file.read()
    scan = content.rfind(START_OF_SCAN)
    return scan >= 0 and END_OF_IMAGE in content[scan:]
