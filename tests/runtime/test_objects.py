import numpy as np
import pytest

from dmn_runtime.errors import MissingExtra
from dmn_runtime.objects import Matches, label, match, score

pytest.importorskip("cc3d")


def boxes(*regions, shape=(4, 40, 40)):
    mask = np.zeros(shape, bool)
    for region in regions:
        mask[region] = True
    return mask


# 4 * 5 * 10 = 200 voxels each
A = np.s_[0:4, 0:5, 0:10]
B = np.s_[0:4, 20:25, 0:10]
C = np.s_[0:4, 20:25, 20:30]


def test_the_floor_keeps_100_voxels_and_drops_99():
    mask = boxes(np.s_[0, 0:10, 0:10], np.s_[0, 20:30, 0:10])
    mask[0, 20, 0] = False
    labels, n = label(mask)
    assert n == 1
    assert (labels == 1).sum() == 100
    assert labels[0, 25, 5] == 0


def test_labels_have_no_gaps():
    labels, n = label(boxes(A, np.s_[0, 10:12, 0:3], B, C))
    assert n == 3
    assert np.unique(labels).tolist() == [0, 1, 2, 3]


def test_voxels_that_touch_at_a_corner_are_one_object_in_3d_and_2d():
    corner = boxes(np.s_[0:2, 0:10, 0:10], np.s_[2:4, 10:20, 10:20])
    assert label(corner)[1] == 1
    flat = boxes(np.s_[0, 0:10, 0:10], np.s_[0, 10:20, 10:20], shape=(1, 40, 40))
    assert label(flat)[1] == 1


def test_a_match_a_miss_and_an_invention():
    shifted = np.s_[0:4, 0:5, 1:11]  # 180 shared, 220 in the union
    found = match(boxes(shifted, C), boxes(A, B))
    assert found.ious.tolist() == [pytest.approx(180 / 220)]
    assert (found.false_positives, found.false_negatives) == (1, 1)
    result = score(found, resamples=0, seed=0)
    assert result.sq == pytest.approx(180 / 220)
    assert result.rq == 0.5
    assert result.pq == pytest.approx(result.sq * result.rq)


def test_an_overlap_of_exactly_half_is_no_match():
    half = np.s_[0:4, 0:5, 0:5]  # 100 of 200 voxels
    found = match(boxes(half), boxes(A))
    assert len(found.ious) == 0
    assert (found.false_positives, found.false_negatives) == (1, 1)


def test_two_objects_merged_into_one_are_missed_twice():
    merged = np.s_[0:4, 20:25, 0:30]
    found = match(boxes(merged), boxes(B, C))
    assert (len(found.ious), found.false_positives, found.false_negatives) == (0, 1, 2)
    result = score(found, 0, 0)
    assert (result.pq, result.sq, result.rq) == (0.0, None, 0.0)


def test_equal_masks_are_perfect_and_so_are_two_empty_ones():
    perfect = score(match(boxes(A, B, C), boxes(A, B, C)), 10, 0)
    assert (perfect.pq, perfect.sq, perfect.rq, perfect.true_positives) == (1.0, 1.0, 1.0, 3)
    assert perfect.pq_interval == (1.0, 1.0)
    empty = score(match(boxes(), boxes()), 10, 0)
    assert (empty.pq, empty.sq, empty.rq, empty.pq_interval) == (1.0, 1.0, 1.0, None)


def test_matching_is_the_same_from_both_sides():
    one, other = boxes(A, np.s_[0:4, 20:25, 3:13], C), boxes(A, B)
    there, back = match(one, other), match(other, one)
    assert sorted(there.ious) == sorted(back.ious)
    assert there.false_positives == back.false_negatives


def test_the_interval_of_pq_covers_it():
    result = score(Matches(np.array([0.9, 0.8, 0.6, 0.7]), 2, 3), 500, 0)
    assert result.pq == pytest.approx(3.0 / 6.5)
    low, high = result.pq_interval
    assert 0.0 <= low < result.pq < high <= 1.0


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("dmn_runtime.extras.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"to count objects, cc3d must be installed: pip install 'dmn-em\[objects"
    ):
        label(boxes(A))
