"""Whether what a run looks at reaches into the part of a volume that a protocol tests on."""

import os
from dataclasses import dataclass
from pathlib import Path

from dmn_train.recipe import PlacedRecipe
from dmn_train.sections import SliceRange
from dmn_train.study.sections import TestSection


@dataclass(frozen=True)
class Part:
    """A part of a volume.

    Attributes:
        path: of the volume, from the working directory or absolute.
        slices: [first, one past the last] on the z axis; None is all.
        columns: likewise on the x axis, raw px.
    """

    path: str
    slices: SliceRange | None = None
    columns: SliceRange | None = None

    def overlaps(self, other: "Part") -> bool:
        """Tell whether both have a voxel in common; copies of a file are files of their own."""
        return (
            same_file(self.path, other.path)
            and _meet(self.slices, other.slices)
            and _meet(self.columns, other.columns)
        )


def same_file(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file, links followed."""
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def _meet(one: SliceRange | None, other: SliceRange | None) -> bool:
    return one is None or other is None or (one[0] < other[1] and other[0] < one[1])


def targets_of(placed: PlacedRecipe) -> list[Part]:
    """Return the unlabelled parts that a recipe adapts to."""
    return [
        Part(placed.locate(target.image), target.slices, target.columns)
        for target in placed.recipe.data.target
    ]


def labelled_parts(placed: PlacedRecipe) -> list[Part]:
    """Return the parts that a recipe reads labels of, to train on and to validate; none for phantoms."""
    source, validate = placed.recipe.data.source, placed.recipe.validate_
    if source.image is None:
        return []
    image = placed.locate(source.image)
    held_out = [validate.slices] if validate is not None and validate.slices is not None else []
    return [Part(image, slices, source.columns) for slices in (source.slices, *held_out)]


def part_under_test(section: TestSection, folder: Path) -> Part:
    """Return the part that a protocol tests on; `folder` is where the study's paths start."""
    return Part(str(folder / section.image), section.slices, section.columns)
