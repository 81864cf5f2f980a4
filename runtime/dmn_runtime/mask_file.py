"""Open a mask, and say of one that cannot be used what is wrong with it as a mask."""

import os
from pathlib import Path

import numpy as np
import tifffile

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.base import Volume
from dmn_runtime.volume.open import open_volume


def open_mask(path: Path, role: str) -> Volume:
    """Open a volume of labels, uint8 or uint16.

    Args:
        path: what the user named.
        role: "mask" or "valid mask", for the error.

    Raises:
        VolumeError: the file cannot be read, or its values are no labels (real numbers, NaN, negative).
    """
    try:
        return open_volume(path)
    except VolumeError as error:
        fault = _fault_of_values(path)
        if fault is None:
            raise
        raise VolumeError(
            f"the {role} {path} holds {fault}, wanted whole numbers as uint8 or uint16 with 0 = background: "
            "convert it, saying which values are foreground"
        ) from error


def _fault_of_values(path: Path) -> str | None:
    """Return what is wrong with the values of a TIFF; None for other files and for TIFFs wrong otherwise."""
    if not os.path.isfile(path):  # noqa: PTH113 (unlike Path's, False for names that the system refuses)
        return None
    try:
        with tifffile.TiffFile(path) as file:
            dtype = file.pages.first.dtype
            if dtype is None or dtype.kind not in "fi":
                return None
            missing, lowest = 0, 0.0
            for page in file.pages:  # one by one, so that the search takes the memory of a page
                values = page.asarray()
                missing += int(np.isnan(values).sum())
                lowest = min(lowest, float(np.nanmin(values, initial=0)))
    except (tifffile.TiffFileError, OSError, ValueError):
        return None  # damaged: the reader's own words are better
    negative = f" down to {lowest:g}" if lowest < 0 else ""
    return f"{dtype} values{negative}" + (f", {missing} of them NaN" if missing else "")
