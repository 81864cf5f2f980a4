"""Objects, pieces and contours of whole volumes, by hand and by a plain twin."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_train.study.structure import Structure, structure_of

Mask = NDArray[np.bool_]
VOXEL_NM = (50.0, 10.0, 10.0)
SHAPE = (3, 24, 24)
BOX = np.s_[0:3, 2:9, 2:9]  # 147 voxels


def boxes(*regions: tuple[slice, ...], shape: tuple[int, int, int] = SHAPE) -> Mask:
    mask = np.zeros(shape, np.bool_)
    for region in regions:
        mask[region] = True
    return mask


def compare(prediction: Mask, truth: Mask, counted: Mask | None = None) -> Structure:
    return structure_of(prediction, truth, np.ones_like(truth) if counted is None else counted, VOXEL_NM)


def test_a_volume_by_hand() -> None:
    truth = boxes(BOX, np.s_[0:3, 12:19, 2:9])
    # One box is found 1 px too far to the right, the other not; a third one is invented in one slice, where
    # it is too small for an object (64 voxels) and large enough for a piece.
    found = compare(boxes(np.s_[0:3, 2:9, 3:10], np.s_[1, 12:20, 12:20]), truth)
    iou = 42 / 56
    assert found.matches.ious.tolist() == [iou]
    assert (found.objects_found, found.objects_true) == (1, 2)
    assert (found.objects.sq, found.objects.rq) == (iou, pytest.approx(1 / 1.5))
    assert found.objects.pq == pytest.approx(iou / 1.5)
    assert found.components.tolist() == [[1, 2], [2, 2], [1, 2]]
    assert found.betti0_error == pytest.approx(2 / 3)
    # 24 contour pixels a box of 7 x 7, 28 of the invented one, which is 3 px from the missed one at least.
    assert found.contours.tolist() == [[24, 24, 48, 24], [52, 24, 48, 24], [24, 24, 48, 24]]
    assert found.nsd == pytest.approx((48 / 72 + 48 / 100 + 48 / 72) / 3)


def test_what_does_not_count_is_background_on_both_sides() -> None:
    counted = np.ones(SHAPE, np.bool_)
    counted[:, :, 12:] = False
    counted[2] = False
    other = np.s_[0:3, 2:9, 14:21]
    found = compare(boxes(BOX, other), boxes(BOX), counted)
    # Two slices of 49 voxels each are left of the box: no object.
    assert (found.objects_found, found.objects_true, found.objects.pq) == (0, 0, 1.0)
    assert found.components.tolist() == [[1, 1]] * 2
    assert found.contours.tolist() == [[24] * 4] * 2
    counted[2] = True
    assert compare(boxes(BOX, other), boxes(BOX), counted).objects.pq == 1.0


def test_empty_sides() -> None:
    nothing = boxes()
    both = compare(nothing, nothing)
    assert (both.objects.pq, both.objects.rq, both.objects.sq) == (1.0, 1.0, 1.0)
    assert (both.objects_found, both.objects_true, both.betti0_error, both.nsd) == (0, 0, 0.0, None)
    for prediction, truth, numbers in ((boxes(BOX), nothing, (1, 0)), (nothing, boxes(BOX), (0, 1))):
        one = compare(prediction, truth)
        assert (one.objects.pq, one.objects.rq, one.objects.sq) == (0.0, 0.0, None)
        assert (one.objects_found, one.objects_true) == numbers
        assert (one.betti0_error, one.nsd) == (1.0, 0.0)


def test_in_plane_pixels_are_those_of_the_volume() -> None:
    truth, moved = boxes(BOX), boxes(np.s_[0:3, 2:9, 5:12])
    every = np.ones_like(truth)
    assert structure_of(moved, truth, every, (1.0, 5.0, 5.0)).nsd == 1.0
    assert structure_of(moved, truth, every, (1.0, 5.0, 10.0)).nsd != 1.0
    assert structure_of(moved, truth, every, (1.0, 10.0, 5.0)).nsd == 1.0
    # 49 px of 6 nm are 1,764 nm^2, less than a piece has.
    assert structure_of(moved, truth, every, (50.0, 6.0, 6.0)).components.tolist() == [[0, 0]] * 3


cuts = st.tuples(st.integers(0, 12), st.integers(3, 8))
drawn = st.lists(st.tuples(cuts, cuts, st.integers(0, 3)), max_size=4)


def draw(parts: list[tuple[tuple[int, int], tuple[int, int], int]]) -> Mask:
    return boxes(
        *(np.s_[z : z + 3, y : y + tall, x : x + wide] for (y, tall), (x, wide), z in parts),
        shape=(4, 16, 16),
    )


def objects_of(mask: Mask) -> list[set[tuple[int, ...]]]:
    left = {tuple(int(i) for i in at) for at in np.argwhere(mask)}
    steps, found = list(itertools.product((-1, 0, 1), repeat=3)), []
    while left:
        front, one = [left.pop()], set[tuple[int, ...]]()
        while front:
            at = front.pop()
            one.add(at)
            near = {tuple(a + d for a, d in zip(at, step, strict=True)) for step in steps} & left
            left -= near
            front += near
        if len(one) >= 100:
            found.append(one)
    return found


@settings(max_examples=25)
@given(drawn, drawn, st.integers(10, 16))
def test_a_plain_twin_finds_the_same_objects(
    predicted: list[tuple[tuple[int, int], tuple[int, int], int]],
    true: list[tuple[tuple[int, int], tuple[int, int], int]],
    columns: int,
) -> None:
    counted = np.zeros((4, 16, 16), np.bool_)
    counted[:, :, :columns] = True
    prediction, truth = draw(predicted), draw(true)
    ours = objects_of(prediction & counted), objects_of(truth & counted)
    ious = [len(a & b) / len(a | b) for a in ours[0] for b in ours[1]]
    matched = [iou for iou in ious if iou > 0.5]
    found = compare(prediction, truth, counted)
    assert (found.objects_found, found.objects_true) == (len(ours[0]), len(ours[1]))
    divisor = (len(ours[0]) + len(ours[1])) / 2
    assert found.objects.pq == pytest.approx(sum(matched) / divisor if divisor else 1.0)
