"""Raw volumes, or parts of them, in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.normalise import sample_regions
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.open import open_volume
from dmn_train.recipe import PlacedRecipe
from dmn_train.sections import SliceRange


@dataclass(frozen=True)
class Grey:
    """A raw volume, or a part of one, in memory.

    Attributes:
        name: as the recipe has it.
        voxels: uint8 or uint16 zyx.
        voxel_nm: voxel size, zyx.
        fingerprint: of the whole volume's content.
    """

    name: str
    voxels: Voxels
    voxel_nm: Spacing
    fingerprint: str

    @property
    def shape(self) -> Triple:
        """Voxels, zyx."""
        z, y, x = self.voxels.shape
        return (z, y, x)

    def counts(self) -> NDArray[np.int64]:
        """Return what `dmn_runtime.normalise.histogram` returns for a volume of these voxels."""
        bins = int(np.iinfo(self.voxels.dtype).max) + 1
        total = np.zeros(bins, np.int64)
        for region in sample_regions(self.shape):
            total += np.bincount(self.voxels[region.slices].ravel(), minlength=bins)
        return total


def read_whole(placed: PlacedRecipe, name: str, voxel_nm: Spacing | None) -> Grey:
    """Read a volume into memory.

    Raises:
        RecipeError: its voxel size is neither given nor in the file.
    """
    return read_part(placed, name, voxel_nm, None, None, name)


def read_part(
    placed: PlacedRecipe,
    name: str,
    voxel_nm: Spacing | None,
    slices: SliceRange | None,
    columns: SliceRange | None,
    key: str,
) -> Grey:
    """Read a range of a volume's slices and columns into memory, and no voxel beside it; None is all.

    Raises:
        RecipeError: a range leaves the volume (`key` is the table of the recipe that it stands in), or the
            voxel size is neither given nor in the file.
    """
    with open_volume(placed.locate(name), voxel_nm=voxel_nm) as volume:
        if volume.voxel_nm is None:
            raise RecipeError(f"{name} does not say its voxel size: add voxel_nm = [z, y, x] beside it")
        depth, height, width = volume.shape
        first, stop = check_slices(slices or (0, depth), name, depth, f"{key}.slices")
        left, right = _check_columns(columns or (0, width), name, width, f"{key}.columns")
        voxels = volume.read(Region((first, 0, left), (stop, height, right)))
        return Grey(name, voxels, volume.voxel_nm, volume.fingerprint())


def columns_index(columns: SliceRange | None, image: Grey, key: str) -> tuple[slice, slice, slice]:
    """Return the index, zyx, of a range on the x axis; None is all of it.

    Raises:
        RecipeError: it leaves the volume; `key` is the recipe's.
    """
    width = image.shape[2]
    return (slice(None), slice(None), slice(*_check_columns(columns or (0, width), image.name, width, key)))


def _check_columns(columns: SliceRange, name: str, width: int, key: str) -> SliceRange:
    if columns[1] > width:
        raise RecipeError(f"{key} is {list(columns)}, but {name} has {width} columns (x)")
    return columns


def check_slices(slices: SliceRange, name: str, count: int, key: str) -> SliceRange:
    """Return a range on the z axis of a volume called `name`, which has `count` slices.

    Raises:
        RecipeError: it leaves the volume; `key` is the recipe's.
    """
    if slices[1] > count:
        raise RecipeError(f"{key} is {list(slices)}, but {name} has {count} slices")
    return slices
