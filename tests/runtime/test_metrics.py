from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dmn_runtime.metrics import IGNORED, average_precision, class_histograms, confusion, iou, scores

SHAPE = (3, 4, 5)
predictions = hnp.arrays(np.uint8, SHAPE) | hnp.arrays(np.uint16, SHAPE)
truths = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 2))


def histograms(values, truth):
    return class_histograms(values, truth, int(np.iinfo(values.dtype).max) + 1)


@given(predictions, truths, st.integers(0, 255))
def test_confusion_equals_a_count_voxel_by_voxel(values, truth, lowest):
    foreground = np.arange(int(np.iinfo(values.dtype).max) + 1) >= lowest
    tp = fp = fn = tn = 0
    for value, kind in zip(values.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if kind == IGNORED:
            continue
        predicted = value >= lowest
        tp += predicted and kind == 1
        fp += predicted and kind == 0
        fn += not predicted and kind == 1
        tn += not predicted and kind == 0
    assert confusion(histograms(values, truth), foreground).tolist() == [tp, fp, fn, tn]


@given(predictions, truths)
def test_average_precision_equals_the_sum_over_sorted_thresholds(values, truth):
    counted = truth.ravel() != IGNORED
    value, positive = values.ravel()[counted].tolist(), truth.ravel()[counted].tolist()
    total, area, recall_before = sum(positive), 0.0, 0.0
    for threshold in sorted(set(value), reverse=True):
        above = [p for v, p in zip(value, positive, strict=True) if v >= threshold]
        recall = sum(above) / total if total else 0.0
        area += (recall - recall_before) * sum(above) / len(above)
        recall_before = recall
    expected = area if total else None
    assert average_precision(histograms(values, truth)) == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_a_textbook_ranking():
    # ranks: hit, miss, hit -> (1/1 + 2/3) / 2
    found = average_precision(histograms(np.array([200, 100, 50], np.uint8), np.array([1, 0, 1], np.uint8)))
    assert found == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_breaks_ties_by_no_order():
    # one threshold only: precision 1/2 at recall 1
    assert average_precision(histograms(np.array([9, 9], np.uint8), np.array([1, 0], np.uint8))) == 0.5


@given(st.tuples(*[st.integers(0, 2**40)] * 4))
def test_scores_follow_their_definitions(counts):
    tp, fp, fn, _ = counts
    found = scores(np.array(counts, np.int64))
    assert found.iou == pytest.approx(tp / (tp + fp + fn) if tp + fp + fn else 1.0)
    assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))
    assert found.precision == (pytest.approx(tp / (tp + fp)) if tp + fp else None)
    assert found.recall == (pytest.approx(tp / (tp + fn)) if tp + fn else None)


@given(hnp.arrays(np.bool_, 30), hnp.arrays(np.bool_, 30))
def test_mcc_is_the_correlation_of_the_two_masks(prediction, truth):
    counts = confusion(histograms(prediction.astype(np.uint8), truth.astype(np.uint8)), np.arange(256) > 0)
    if prediction.std() == 0 or truth.std() == 0:
        assert scores(counts).mcc is None
    else:
        expected = np.corrcoef(prediction.astype(float), truth.astype(float))[0, 1]
        assert scores(counts).mcc == pytest.approx(expected, abs=1e-12)


def test_mcc_of_a_volume_of_a_hundred_teravoxels_does_not_overflow():
    quarter = 25 * 10**12
    assert scores(np.array([3 * quarter, quarter, quarter, 3 * quarter])).mcc == pytest.approx(0.5)
    assert scores(np.array([8, 2, 1, 9])).mcc == pytest.approx((72 - 2) / sqrt(10 * 9 * 11 * 10))


def test_empty_against_empty_is_a_perfect_overlap_and_nothing_else():
    found = scores(np.array([0, 0, 0, 7]))
    assert (found.iou, found.dice) == (1.0, 1.0)
    assert (found.precision, found.recall, found.mcc) == (None, None, None)


def test_iou_of_every_slice():
    per_slice = np.array([[2, 1, 1, 0], [0, 0, 0, 9], [0, 3, 0, 0]])
    assert iou(per_slice).tolist() == [0.5, 1.0, 0.0]
