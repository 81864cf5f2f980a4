"""Parity: figures against plain arithmetic, what fails, and the best threshold against trying them all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.certificate import parity
from dmn_runtime.certificate.parity import LEAST_GAIN, compare, mask, recalibrated
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.tiles import grey_threshold, mask_of

TOLERANCE = Tolerance(max_dp=0.1, iou_change=0.1)


def plane(*rows: list[float]) -> np.ndarray:
    """Return one tile, n1hw, of rows."""
    return np.array([[rows]], np.float32)


def disc(size: int, y: int, x: int, radius: int) -> np.ndarray:
    ys, xs = np.mgrid[:size, :size]
    return ((ys - y) ** 2 + (xs - x) ** 2 <= radius**2).astype(np.float32)


def test_the_figures_are_those_of_pencil_and_paper() -> None:
    expected = np.concatenate([plane([0.9, 0.8], [0.1, 0.0]), plane([0.6, 0.2], [0.2, 0.2])])
    found = np.concatenate([plane([0.9, 0.7], [0.1, 0.0]), plane([0.4, 0.2], [0.2, 0.7])])
    figures = compare(expected, found, 0.5, 0.5)
    assert (figures.tiles, figures.worst_tile) == (2, 1)
    assert figures.max_dp == pytest.approx(0.5)
    assert figures.mean_dp == pytest.approx((0.1 + 0.2 + 0.5) / 8)
    assert figures.iou_change == pytest.approx(1 - 2 / 4)  # three and three pixels, two of them shared


def test_each_side_has_its_own_threshold() -> None:
    expected, found = plane([0.6, 0.4, 0.1]), plane([0.5, 0.3, 0.0])
    assert compare(expected, found, 0.55, 0.45).iou_change == 0.0
    assert compare(expected, found, 0.55, 0.25).iou_change == 0.5


def test_equal_probabilities_differ_by_nothing() -> None:
    same = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    figures = compare(same, same.copy(), 0.5, 0.5)
    assert (figures.max_dp, figures.mean_dp, figures.iou_change, figures.worst_tile) == (0, 0, 0, 0)
    assert figures.within(TOLERANCES["fp32"])


def test_two_empty_masks_are_equal() -> None:
    figures = compare(plane([0.1, 0.2]), plane([0.2, 0.1]), 0.5, 0.5)
    assert figures.iou_change == 0.0


def test_an_empty_mask_is_not_a_full_one() -> None:
    assert compare(plane([0.1, 0.2]), plane([0.9, 0.8]), 0.5, 0.5).iou_change == 1.0


def test_nan_fails_and_is_the_worst() -> None:
    expected = np.concatenate([plane([0.1, 0.9]), plane([0.0, 0.0]), plane([0.1, 0.1])])
    found = np.concatenate([plane([0.1, 0.9]), plane([1.0, 0.0]), plane([0.1, np.nan])])
    figures = compare(expected, found, 0.5, 0.5)
    assert figures.worst_tile == 2
    assert np.isnan(figures.max_dp)
    assert not figures.within(Tolerance(max_dp=1e9, iou_change=1.0))


@pytest.mark.parametrize(
    ("max_dp", "iou_change", "allowed"),
    [(0.1, 0.1, True), (0.11, 0.0, False), (0.0, 0.11, False), (0.0, 0.0, True)],
)
def test_both_bounds_hold_and_include_their_ends(max_dp: float, iou_change: float, allowed: bool) -> None:
    assert parity.Parity(1, max_dp, 0.0, iou_change, None, None, 0).within(TOLERANCE) is allowed


def test_objects_are_counted_tile_by_tile() -> None:
    pytest.importorskip(
        "cc3d", reason="connected-components-3d is not installed: pip install 'dmn-em[objects]'"
    )
    near, far = disc(64, 16, 16, 8), disc(64, 48, 48, 8)
    both, none = np.maximum(near, far), np.zeros_like(near)
    expected, found = np.stack([both, near, none])[:, None], np.stack([near, near, both])[:, None]
    figures = compare(expected, found, 0.5, 0.5)
    assert (figures.objects, figures.objects_matched) == (3, 2)  # what `found` invents is no lost object


def test_objects_are_not_counted_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "is_present", lambda name: name != "cc3d")
    figures = compare(plane([0.9]), plane([0.9]), 0.5, 0.5)
    assert (figures.objects, figures.objects_matched) == (None, None)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_mask_is_the_one_that_a_run_writes(values: list[float], threshold: float) -> None:
    probability = np.array(values, np.float32)
    grey = np.floor(np.float32(255) * probability + np.float32(0.5)).astype(np.uint8)
    np.testing.assert_array_equal(mask(probability, threshold), mask_of(grey, threshold).astype(bool))


def iou_at(expected: np.ndarray, found: np.ndarray, threshold: float, other: float) -> float:
    return 1.0 - compare(expected, found, threshold, other).iou_change


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0.0, 0.5))
def test_the_threshold_is_the_best_of_all_255(seed: int, threshold: float, noise: float) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.random((2, 1, 12, 12)).astype(np.float32)
    found = np.clip(0.8 * expected + noise * rng.random(expected.shape), 0, 1).astype(np.float32)
    every = [iou_at(expected, found, threshold, (grey - 0.5) / 255) for grey in range(1, 256)]
    chosen = recalibrated(expected, found, threshold)
    assert 0.0 < chosen < 1.0
    if chosen == threshold:
        assert max(every) < iou_at(expected, found, threshold, threshold) + LEAST_GAIN
    else:
        assert iou_at(expected, found, threshold, chosen) == pytest.approx(max(every))
        assert max(every) >= iou_at(expected, found, threshold, threshold) + LEAST_GAIN


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_the_threshold_is_kept_where_nothing_is_gained(seed: int, threshold: float) -> None:
    same = np.random.default_rng(seed).random((1, 1, 16, 16)).astype(np.float32)
    assert recalibrated(same, same, threshold) == threshold


def test_a_scaled_probability_is_recalibrated() -> None:
    expected = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 1, 16, 16)
    chosen = recalibrated(expected, expected / 2, 0.5)
    assert chosen == pytest.approx(0.25, abs=1 / 255)
    assert compare(expected, expected / 2, 0.5, chosen).iou_change < 0.02


def test_all_foreground_is_no_threshold() -> None:
    everywhere = np.ones((1, 1, 4, 4), np.float32)
    chosen = recalibrated(everywhere, np.zeros_like(everywhere), 0.5)
    assert chosen == 0.5
    assert grey_threshold(chosen) > 0
