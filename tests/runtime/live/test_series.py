"""Names of slices: which number counts, what is left aside."""

import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.series import find_series, is_slice_name


@pytest.mark.parametrize(
    "name", ["s1.tif", "S1.TIFF", "1.png", "a.b.0003.jpg", "x.jpeg", "tmp1.tif", "part_001.png"]
)
def test_a_slice_has_a_slices_name(name: str) -> None:
    assert is_slice_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "s1.tif.tmp",
        "s1.tif.part",
        "s1.tif~",
        "s1~.tif",
        "~s1.tif",
        "~$s1.tif",
        ".s1.tif",
        "s1.tmp.tif",
        "s1.PART.png",
        "s1.partial.tif",
        "notes.txt",
        "s1",
        "tif",
    ],
)
def test_temporary_hidden_and_foreign_names_are_none(name: str) -> None:
    assert not is_slice_name(name)


@pytest.mark.parametrize(
    ("names", "at", "first"),
    [
        (["s3.tif"], 0, 3),
        (["scan2_s0007.tif"], 1, 7),  # of a lone name the last
        (["run7_s001_10nm.tif", "run7_s003_10nm.tif"], 1, 1),
        (["S0.TIF", "s1.tif"], 0, 0),
        (["s5_101500.png", "s6_101731.png", "s7_102004.png"], 0, 5),  # a counter spans less than a clock
        (["101500_s5.png", "101731_s6.png"], 1, 5),
        (["1_1.png", "2_1.png"], 0, 1),
    ],
)
def test_the_number_that_counts_is_found(names: list[str], at: int, first: int) -> None:
    series = find_series("folder", names, None)
    assert (series.at, series.first) == (at, first)
    assert series.index(names[0]) == 0


def test_an_index_is_the_number_less_the_first() -> None:
    series = find_series("folder", ["s010.png", "s011.png"], 9)
    assert [series.index(f"s{n}.png") for n in ("9", "009", "10", "0500")] == [0, 0, 1, 491]
    assert [series.index(name) for name in ("s8.png", "t9.png", "s9.tif", "s9_1.png", "s9.png.tmp")] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["s1.tif", "s2.png"], "PNG and TIFF files, but slices of one kind"),
        (["s1.tif", "s2.tiff"], "which are not named alike"),
        (["s1.tif", "t2.tif"], "holds s1.tif and t2.tif, which are not named alike"),
        (["slice.tif"], "holds slice.tif, whose name has no number"),
        (["s1.tif", "s01.tif"], "has no number that counts"),
    ],
)
def test_names_that_are_no_series_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(VolumeError, match=sentence):
        find_series("folder", names, None)
