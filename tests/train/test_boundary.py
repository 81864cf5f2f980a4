"""Boundary weights against SciPy's distance transform and hand-made crops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from dmn_train.boundary import boundary_weights

SEEDS = st.integers(0, 2**32 - 1)


def crops(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return truth and valid, blocky like masks; some crops have no outline."""
    rng = np.random.default_rng(seed)
    count, height, width = (int(n) for n in rng.integers(1, (4, 30, 30)))
    coarse = rng.random((2, count, 1, 6, 6)) < np.array([rng.choice([0.0, 0.3]), 0.8]).reshape(2, 1, 1, 1, 1)
    truth, valid = np.repeat(np.repeat(coarse, 5, 3), 5, 4)[..., :height, :width].astype(np.float32)
    return torch.from_numpy(truth.copy()), torch.from_numpy(valid.copy())


def reference(truth: NDArray[np.float32], valid: NDArray[np.float32], sigma: float) -> NDArray[np.float64]:
    """Return what one crop, yx, adds to 1 at weight 1, pixel by pixel."""
    height, width = truth.shape
    outline = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
            other = any(truth[at] != truth[y, x] and valid[at] for at in inside)
            outline[y, x] = other and bool(valid[y, x])
    if not outline.any():
        return np.zeros((height, width))
    distance = distance_transform_edt(~outline)
    return np.asarray(np.exp(-(distance**2) / (2 * sigma**2)))


@given(SEEDS, st.sampled_from([0.5, 1.0, 4.0, 32.0]))
def test_weights_are_those_of_the_exact_distance(seed: int, sigma: float) -> None:
    truth, valid = crops(seed)
    got = boundary_weights(truth, 10.0, sigma, valid)
    assert (got.dtype, got.shape) == (torch.float32, truth.shape)
    for crop, (one, labels) in enumerate(zip(truth[:, 0].numpy(), valid[:, 0].numpy(), strict=True)):
        expected = 1 + 10 * reference(one, labels, sigma)
        np.testing.assert_allclose(got[crop, 0].numpy(), expected, rtol=0, atol=5e-6)


@given(SEEDS)
def test_both_classes_and_all_turns_are_treated_alike(seed: int) -> None:
    truth, _ = crops(seed)
    got = boundary_weights(truth, 5.0, 2.0)
    assert torch.equal(boundary_weights(1 - truth, 5.0, 2.0), got)
    turned = boundary_weights(torch.rot90(truth, 1, (2, 3)).contiguous(), 5.0, 2.0)
    torch.testing.assert_close(turned, torch.rot90(got, 1, (2, 3)))


def test_weights_fall_off_on_both_sides_of_the_outline() -> None:
    truth = torch.tensor([[[[0, 0, 0, 1, 1, 1, 1]]]], dtype=torch.float32)
    near, far = 4 * np.exp(-0.5), 4 * np.exp(-2.0)
    expected = [1 + far, 1 + near, 5, 5, 1 + near, 1 + far, 1 + 4 * np.exp(-4.5)]
    assert boundary_weights(truth, 4.0, 1.0)[0, 0, 0].tolist() == pytest.approx(expected)


def test_labels_that_end_are_no_outline() -> None:
    truth = torch.tensor([[[[0, 0, 1, 1]]]], dtype=torch.float32)
    valid = torch.tensor([[[[1, 0, 1, 1]]]], dtype=torch.float32)
    assert boundary_weights(truth, 4.0, 1.0, valid).tolist() == [[[[1.0, 1.0, 1.0, 1.0]]]]


def test_a_crop_does_not_see_the_outline_of_another() -> None:
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, :, :4] = 1
    got = boundary_weights(truth, 4.0, 2.0)
    assert got[0].max() == 5
    assert (got[1] == 1).all()


def test_the_rise_reaches_from_the_first_row_to_the_last() -> None:
    truth, valid = torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)
    truth[..., 1], valid[..., 0, :] = 1, 1
    rows = [[1 + 4 * np.exp(-(y**2) / 8)] * 2 for y in range(4)]
    np.testing.assert_allclose(boundary_weights(truth, 4.0, 2.0, valid)[0, 0].numpy(), rows, rtol=1e-6)
