"""Procedural electron microscopy: tissue with mitochondria and their exact truth (docs/phantom.md).

Everything is a function of positions in nm, so slices are coherent and the truth is the geometry itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.phantom.fields import stream
from dmn_runtime.phantom.optics import expose
from dmn_runtime.phantom.regimes import REGIMES, find_regime
from dmn_runtime.phantom.scene import compose, draw

__all__ = ["REGIMES", "Phantom", "make_phantom"]


@dataclass(frozen=True)
class Phantom:
    """A made-up volume and its truth.

    Attributes:
        image: uint8 zyx.
        mask: uint8 zyx, 1 = mitochondrion.
        voxel_nm: voxel size, zyx.
        regime: name of the acquisition regime.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    voxel_nm: Spacing
    regime: str


def make_phantom(shape: Triple, *, seed: int, voxel_nm: float = 10.0, regime: str | None = None) -> Phantom:
    """Make a volume of tissue as an electron microscope would show it, with its mitochondria.

    Args:
        shape: voxels, zyx.
        seed: the same numbers give the same volume.
        voxel_nm: pixel size in the plane; the slice distance is the regime's.
        regime: a key of `REGIMES`; None lets the seed choose.

    Raises:
        UsageError: an unknown regime, an empty shape or a pixel size that is not positive.
    """
    if min(shape) < 1 or not voxel_nm > 0:
        raise UsageError(
            f"a phantom of shape {shape} at {voxel_nm} nm cannot be made: every edge of the shape and the "
            "pixel size must be above 0"
        )
    name = regime if regime is not None else list(REGIMES)[int(stream(seed, 0).integers(len(REGIMES)))]
    rule = find_regime(name)
    spacing = (rule.section_nm or voxel_nm, voxel_nm, voxel_nm)
    density, mask = draw(compose(shape, spacing, rule, seed))
    image = expose(density, rule, voxel_nm, stream(seed, 9))
    return Phantom(image, mask, spacing, name)
