"""The volume that is measured on where the user gives none: a phantom, the same on every machine."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dmn_runtime.geometry import Spacing, Triple, ceil_div
from dmn_runtime.phantom import make_phantom

SHAPE: Triple = (64, 1024, 1024)
QUICK_SHAPE: Triple = (24, 1024, 1024)
VOXEL_NM: Spacing = (50.0, 5.0, 5.0)
_SLAB: Triple = (8, 512, 512)
_DRAWN_NM = 5.0
_SEED = 1


def write_phantom(path: Path, shape: Triple, voxel_nm: Spacing = VOXEL_NM) -> None:
    """Write a deterministic phantom as a compressed OME-TIFF, uint8 zyx.

    A slab is drawn and repeated: drawing is slow, and what is measured does not see the repetition.

    Args:
        path: of the file.
        shape: voxels, zyx.
        voxel_nm: what the file says of its voxel size, zyx; the tissue is drawn at 5 nm all the same.
    """
    slab = make_phantom(_SLAB, seed=_SEED, voxel_nm=_DRAWN_NM, regime="sstem").image
    times = [ceil_div(wanted, drawn) for wanted, drawn in zip(shape, _SLAB, strict=True)]
    voxels = np.tile(slab, times)[: shape[0], : shape[1], : shape[2]]
    metadata: dict[str, Any] = {"axes": "ZYX"}
    for axis, length in zip("ZYX", voxel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "nm"}
    tifffile.imwrite(
        path,
        voxels,
        ome=True,
        metadata=metadata,
        compression="zlib",
        predictor=True,
        photometric="minisblack",
    )
