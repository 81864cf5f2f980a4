"""The labelled source, raw: read from files, or made up."""

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Triple
from dmn_runtime.phantom import REGIMES, make_phantom
from dmn_train.grey import Grey, columns_index, read_whole
from dmn_train.mask import UNLABELLED, check_shape, checked_mask
from dmn_train.recipe import PlacedRecipe
from dmn_train.sections import PhantomSection, SourceSection

VALIDATION_SEED_STEP = 100_000  # validation phantoms start this far from the training ones
REMEMBERED = 128  # phantoms; of 3 x 384 x 384 voxels these are 110 MB


@dataclass(frozen=True)
class Raw:
    """A labelled volume on its own grid.

    Attributes:
        image: the volume.
        mask: uint8 zyx: 0, 1, 255 = unlabelled.
        mask_fingerprint: of the mask's content.
        train: whether it is trained on; else it is held out.
    """

    image: Grey
    mask: NDArray[np.uint8]
    mask_fingerprint: str
    train: bool


def load_source(placed: PlacedRecipe, most: int | None = None) -> list[Raw]:
    """Read or make the source's volumes, those that are trained on first, `most` at most.

    Raises:
        VolumeError: a file cannot be read, or image and mask do not fit each other.
        RecipeError: the voxel size is neither in the recipe nor in the file, or a range is off.
    """
    source = placed.recipe.data.source
    if source.phantom is None:
        return [_files(placed, source)]
    validate = placed.recipe.validate_
    return _phantoms(source.phantom, (validate.phantoms or 0) if validate else 0, most)


def load_extra(placed: PlacedRecipe) -> list[Raw]:
    """Make the volumes that the recipe wants beside the source; none where it wants none."""
    section = placed.recipe.data.extra
    return [] if section is None else _phantoms(section, 0, None)


def _files(placed: PlacedRecipe, source: SourceSection) -> Raw:
    assert source.image is not None
    assert source.mask is not None
    image = read_whole(placed, source.image, source.voxel_nm)
    labels = read_whole(placed, source.mask, image.voxel_nm)
    mask = checked_mask(labels, image, source.label)
    if source.valid is not None:
        valid = read_whole(placed, source.valid, image.voxel_nm)
        check_shape(valid, image)
        mask[valid.voxels == 0] = UNLABELLED
    columns = columns_index(source.columns, image, "data.source.columns")
    return Raw(replace(image, voxels=image.voxels[columns]), mask[columns], labels.fingerprint, train=True)


def _phantoms(section: PhantomSection, held_out: int, most: int | None) -> list[Raw]:
    train = [(index, section.seed + index, True) for index in range(section.count)]
    first = section.seed + VALIDATION_SEED_STEP
    others = [(index, first + index, False) for index in range(held_out)]
    return [_phantom(section, *which) for which in [*train, *others][:most]]


def _phantom(section: PhantomSection, index: int, seed: int, train: bool) -> Raw:
    """Make one phantom; the regimes take turns, so that each has its share."""
    regime = tuple(REGIMES)[index % len(REGIMES)]
    return replace(_drawn(section.shape, section.voxel_nm, seed, regime), train=train)


@lru_cache(maxsize=REMEMBERED)
def _drawn(shape: Triple, voxel_nm: float, seed: int, regime: str) -> Raw:
    """Draw one phantom, which takes a second; runs of one process that want the same one share it."""
    phantom = make_phantom(shape, seed=seed, voxel_nm=voxel_nm, regime=regime)
    name = f"phantom {seed} {regime}"
    image = Grey(name, phantom.image, phantom.voxel_nm, _digest(phantom.image))
    return Raw(image, phantom.mask, _digest(phantom.mask), train=True)


def _digest(voxels: NDArray[np.uint8]) -> str:
    return sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()
