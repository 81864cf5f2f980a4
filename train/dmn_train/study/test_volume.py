"""A labelled test volume: the whole image, and which of its voxels count as what."""

import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError, VolumeError
from dmn_runtime.evaluation import read_mask
from dmn_runtime.geometry import Region, Triple, whole
from dmn_runtime.metrics import IGNORED
from dmn_runtime.volume.open import open_volume
from dmn_train.grey import Grey
from dmn_train.study.overlap import Part, part_under_test
from dmn_train.study.sections import TestSection


class TestVolume:
    """A labelled test volume, read once when it is first asked for; may be asked from several threads."""

    __test__ = False  # the name is no test's

    def __init__(self, section: TestSection, folder: Path) -> None:
        self.section = section
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def part(self) -> Part:
        """The part that counts, unread."""
        return part_under_test(self.section, self._folder)

    @property
    def image(self) -> Grey:
        """The whole image, raw."""
        return self._read[0]

    @property
    def classes(self) -> NDArray[np.uint8]:
        """NEGATIVE, POSITIVE or IGNORED, zyx; whatever lies outside of slices and columns is IGNORED."""
        return self._read[1]

    @property
    def slices(self) -> list[int]:
        """Every z with a voxel that counts."""
        counted: list[int] = np.flatnonzero((self.classes != IGNORED).any(axis=(1, 2))).tolist()
        return counted

    def check(self) -> None:
        """Read the volume and its labels now; raises what a first use would raise."""
        _ = self._read

    @property
    def key(self) -> dict[str, Any]:
        """What a score depends on beside the weights."""
        image, mask = self.image, self._read[2]
        section = self.section.model_dump(mode="json", include={"slices", "columns"})
        return {"image": image.fingerprint, "mask": mask, "voxel_nm": list(image.voxel_nm), **section}

    @property
    def _read(self) -> tuple[Grey, NDArray[np.uint8], str]:
        with self._lock:
            return self._once

    @cached_property
    def _once(self) -> tuple[Grey, NDArray[np.uint8], str]:
        image = _whole(self._folder / self.section.image, self.section)
        with open_volume(self._folder / self.section.mask, voxel_nm=image.voxel_nm) as mask:
            if mask.shape != image.shape:
                raise VolumeError(
                    f"{mask.path} has {mask.shape} voxels (zyx) and {image.name} has {image.shape}: "
                    "name the labels of this image"
                )
            classes = read_mask(mask, "auto").classes[mask.read(whole(mask.shape))]
            counted = np.zeros(mask.shape, np.bool_)
            counted[_box(self.section, mask.shape).slices] = True
            classes[~counted] = IGNORED
            if (classes == IGNORED).all():
                raise VolumeError(
                    f"{mask.path} has no labelled voxel in the part that is tested: check the range"
                )
            return image, classes, mask.fingerprint()


def _whole(path: Path, section: TestSection) -> Grey:
    with open_volume(path, voxel_nm=section.voxel_nm) as volume:
        if volume.voxel_nm is None:
            raise RecipeError(
                f"{section.image} does not say its voxel size: add voxel_nm = [z, y, x] beside it"
            )
        return Grey(section.image, volume.read(whole(volume.shape)), volume.voxel_nm, volume.fingerprint())


def _box(section: TestSection, shape: Triple) -> Region:
    """Return the part that counts.

    Raises:
        RecipeError: it reaches over the volume's edge.
    """
    slices, columns = section.slices or (0, shape[0]), section.columns or (0, shape[2])
    for key, span, extent in (("slices", slices, shape[0]), ("columns", columns, shape[2])):
        if span[1] > extent:
            raise RecipeError(f"protocol.test.{key} is {list(span)}, but {section.image} has {extent}")
    return Region((slices[0], 0, columns[0]), (slices[1], shape[1], columns[1]))
