"""What the command line of the peers' benchmark takes and refuses."""

from pathlib import Path

import pytest
from contest.arguments import (
    StudentWish,
    VolumeWish,
    once_each,
    parse_python,
    parse_student,
    parse_volume,
)

from dmn_runtime.errors import UsageError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "image.tif").touch()
    (tmp_path / "mito.tif").touch()
    return tmp_path / "image.tif"


def test_a_volume_with_all_its_parts(image: Path) -> None:
    labels = image.with_name("mito.tif")
    assert parse_volume(f"vnc={image},50x4.6x4.6,{labels},slices=80,mosaic=2") == VolumeWish(
        "vnc", image, (50.0, 4.6, 4.6), labels, 80, 2
    )


def test_a_volume_of_the_least(image: Path) -> None:
    assert parse_volume(f"vnc={image},5x5x5") == VolumeWish("vnc", image, (5.0, 5.0, 5.0), None, 0, 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("{image},5x5x5", "begins with no name"),
        ("a b={image},5x5x5", "begins with no name"),
        ("v={image}", "has 1 parts without a key"),
        ("v={image},5x5x5,{image},{image}", "has 4 parts without a key"),
        ("v={image},5x5", "wanted three numbers in nm"),
        ("v={image},5x5xfive", "wanted three numbers in nm"),
        ("v={image},5x0x5", "wanted positive numbers"),
        ("v={image},5xnanx5", "wanted positive numbers"),
        ("v={image},5x5x5,slices=0", "slices of --volume v is '0', wanted a whole number from 1"),
        ("v={image},5x5x5,mosaic=two", "mosaic of --volume v is 'two'"),
        ("v=nowhere.tif,5x5x5", "the image of --volume v, 'nowhere.tif', does not exist"),
        ("v={image},5x5x5,nowhere.tif", "the labels of --volume v, 'nowhere.tif', does not exist"),
    ],
)
def test_a_volume_that_is_refused(image: Path, words: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_volume(words.format(image=image))


def test_a_student(image: Path) -> None:
    assert parse_student(f"s16={image.parent},{image}") == StudentWish("s16", image.parent, image)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("s16", "begins with no name"),
        ("s16={image}", "has 1 parts, wanted NAME=RUN_FOLDER,PACKAGE"),
        ("s16=nowhere,{image}", "the run folder of --student s16, 'nowhere', does not exist"),
        ("s16={image},nowhere", "the package of --student s16, 'nowhere', does not exist"),
        ("s16=,{image}", "the run folder of --student s16, '', does not exist"),
    ],
)
def test_a_student_that_is_refused(image: Path, words: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_student(words.format(image=image))


def test_the_link_of_an_interpreter_is_kept(tmp_path: Path, image: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(image)
    assert parse_python(f"monai={link}", ("monai",)) == ("monai", link)


def test_an_interpreter_for_nobody_is_refused(image: Path) -> None:
    with pytest.raises(UsageError, match=r"--python monay=.* names no environment, .* one of monai, torch"):
        parse_python(f"monay={image}", ("monai", "torch"))


def test_names_come_once(image: Path) -> None:
    one = StudentWish("s16", image, image)
    assert once_each("--student", [one]) == (one,)
    with pytest.raises(UsageError, match="--student s16 is given twice"):
        once_each("--student", [one, one])
    with pytest.raises(UsageError, match="no --student is given"):
        once_each("--student", [])
