"""Which part of a target is read: all of a small one, blocks of a large one, strips of wide slices."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmn_export.adapt.defaults import SLICE_PX, TARGET_VOXELS
from dmn_export.adapt.target_parts import Part, parts_words, target_parts

TEN = (10.0, 10.0, 10.0)


def test_a_small_target_is_read_whole() -> None:
    parts = target_parts((100, 1024, 1024), TEN, 10.0)
    assert parts == (Part((0, 100), None),)
    assert parts_words((100, 1024, 1024), parts) is None


def test_of_many_slices_eight_blocks_are_read() -> None:
    shape = (9000, 2048, 2048)
    parts = target_parts(shape, TEN, 10.0)
    assert [part.slices[0] for part in parts] == [0, 1281, 2562, 3843, 5124, 6405, 7686, 8968]
    assert {(part.slices[1] - part.slices[0], part.columns) for part in parts} == {(32, None)}
    assert parts_words(shape, parts) == (
        "the target is large: of its 9000 slices 8 blocks of 32 are read, spread over it (--target-slices "
        "FIRST,STOP names others)"
    )


def test_wide_slices_are_cut_into_strips_that_cover_them() -> None:
    parts = target_parts((2, 4096, 4096), TEN, 10.0)
    assert [part.columns for part in parts] == [(0, 1024), (1024, 2048), (2048, 3072), (3072, 4096)]
    assert parts_words((2, 4096, 4096), parts) is None
    # On a coarser grid they are not wide any more.
    assert target_parts((2, 4096, 4096), (50.0, 5.0, 5.0), 10.0) == (Part((0, 2), None),)


def test_of_many_wide_slices_every_block_is_another_strip() -> None:
    shape = (5000, 5000, 4000)
    parts = target_parts(shape, TEN, 10.0)
    assert len({part.columns for part in parts}) == 5
    assert parts_words(shape, parts) == (
        "the target is large: of its 5000 slices 8 blocks of 33 are read, spread over it, 800 of its 4000 "
        "columns each (--target-slices FIRST,STOP names others)"
    )


def test_chosen_slices_are_read_whatever_their_size() -> None:
    shape = (9000, 2048, 2048)
    parts = target_parts(shape, TEN, 10.0, (100, 900))
    assert parts == (Part((100, 900), None),)
    assert parts_words(shape, parts, (100, 900)) == (
        "of the target's 9000 slices those from 100 up to 900 are read"
    )


EDGES = st.integers(1, 60_000)


@settings(max_examples=200, deadline=None)
@given(st.tuples(EDGES, EDGES, EDGES), st.sampled_from([5.0, 10.0, 30.0, 100.0]))
def test_parts_lie_inside_and_are_bounded(shape: tuple[int, int, int], working: float) -> None:
    depth, height, width = shape
    voxels = 0
    parts = target_parts(shape, TEN, working)
    for part in parts:
        first, last = part.columns or (0, width)
        assert 0 <= part.slices[0] < part.slices[1] <= depth
        assert 0 <= first < last <= width
        voxels += (part.slices[1] - part.slices[0]) * height * (last - first)
        if last - first > 1:
            assert (
                height * (last - first) * (10.0 / working) ** 2 <= SLICE_PX + height * (10.0 / working) ** 2
            )
    if prod(shape) <= TARGET_VOXELS:
        assert voxels >= prod(shape)
    else:
        assert voxels <= max(TARGET_VOXELS, height * width)


@pytest.mark.parametrize("shape", [(5, 20_000, 20_000), (40_000, 400, 400), (12, 10_000, 10_000)])
def test_much_of_a_large_target_is_read(shape: tuple[int, int, int]) -> None:
    parts = target_parts(shape, (50.0, 8.0, 8.0), 10.0)
    read = sum(
        (part.slices[1] - part.slices[0])
        * shape[1]
        * (shape[2] if part.columns is None else part.columns[1] - part.columns[0])
        for part in parts
    )
    assert read > TARGET_VOXELS / 2
    assert len(set(parts)) == len(parts)
    assert all(0 <= part.slices[0] < part.slices[1] <= shape[0] for part in parts)


def test_of_huge_slices_there_are_fewer_blocks() -> None:
    parts = target_parts((100, 20_000, 15_000), (100.0, 10.0, 10.0), 100.0)
    assert parts == (Part((0, 1), None), Part((49, 50), None), Part((99, 100), None))
