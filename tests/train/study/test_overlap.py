"""Parts of volumes that have voxels in common."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_train.recipe import PlacedRecipe
from dmn_train.study.overlap import Part, labelled_parts, part_under_test, targets_of
from dmn_train.study.sections import TestSection

TESTED = Part("lab/image.tif", (2, 5), (10, 20))


@pytest.mark.parametrize(
    ("part", "overlaps"),
    [
        (Part("lab/image.tif"), True),
        (Part("lab/x/../image.tif", (0, 3), (0, 11)), True),
        (Part("lab/image.tif", (4, 9), (19, 30)), True),
        (Part("lab/image.tif", (5, 9), (10, 20)), False),
        (Part("lab/image.tif", (0, 2)), False),
        (Part("lab/image.tif", (0, 9), (0, 10)), False),
        (Part("lab/image.tif", None, (20, 30)), False),
        (Part("other/image.tif"), False),
    ],
)
def test_parts_overlap_in_file_slices_and_columns(part: Part, overlaps: bool) -> None:
    assert part.overlaps(TESTED) is overlaps
    assert TESTED.overlaps(part) is overlaps


def test_a_link_to_a_file_is_the_file(folder: Path) -> None:
    (folder / "link.tif").symlink_to("image.tif")
    assert Part(str(folder / "link.tif")).overlaps(Part(str(folder / "image.tif")))


def test_parts_are_read_from_recipes_and_tests(folder: Path, placed: Callable[..., PlacedRecipe]) -> None:
    recipe = placed(
        "data.source.columns=[0, 64]", 'data.target={image = "image.tif", slices = [1, 2]}', "loop.steps=1"
    )
    image = str(folder / "image.tif")
    assert labelled_parts(recipe) == [Part(image, None, (0, 64)), Part(image, (5, 6), (0, 64))]
    assert targets_of(recipe) == [Part(image, (1, 2), None)]
    section = TestSection(image="image.tif", mask="mask.tif", columns=(3, 4))
    assert part_under_test(section, folder) == Part(image, None, (3, 4))
