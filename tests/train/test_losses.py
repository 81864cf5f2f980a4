"""Losses against plain NumPy."""

import numpy as np
import torch
from numpy.typing import NDArray

from dmn_train.losses import bce, soft_dice

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 2, (2, 1, 5, 7)).astype(np.float32)
TRUTH = (RNG.random((2, 1, 5, 7)) < 0.3).astype(np.float32)
VALID = (RNG.random((2, 1, 5, 7)) < 0.7).astype(np.float32)


def tensors(*arrays: NDArray[np.float32]) -> list[torch.Tensor]:
    return [torch.from_numpy(array.copy()) for array in arrays]


def test_bce_is_the_mean_over_valid_pixels() -> None:
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    each = -(TRUTH * np.log(p) + (1 - TRUTH) * np.log(1 - p))
    expected = each[VALID == 1].mean()
    assert abs(float(bce(*tensors(LOGITS, TRUTH, VALID))) - expected) < 1e-6


def test_soft_dice_counts_valid_pixels_of_the_whole_batch() -> None:
    p = (1 / (1 + np.exp(-LOGITS.astype(np.float64))))[VALID == 1]
    t = TRUTH[VALID == 1]
    expected = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert abs(float(soft_dice(*tensors(LOGITS, TRUTH, VALID))) - expected) < 1e-6


def test_a_perfect_prediction_costs_nothing_and_an_inverted_one_all() -> None:
    truth = torch.from_numpy(TRUTH)
    valid = torch.ones_like(truth)
    logits = 40 * (2 * truth - 1)
    assert float(soft_dice(logits, truth, valid)) < 1e-6
    assert float(bce(logits, truth, valid)) < 1e-6
    assert float(soft_dice(-logits, truth, valid)) > 0.9


def test_unlabelled_pixels_have_no_gradient() -> None:
    logits, truth, valid = tensors(LOGITS, TRUTH, VALID)
    logits.requires_grad_()
    (bce(logits, truth, valid) + soft_dice(logits, truth, valid)).backward()
    assert logits.grad is not None
    assert (logits.grad[valid == 0] == 0).all()
    assert (logits.grad[valid == 1] != 0).all()


def test_a_batch_without_labels_costs_nothing() -> None:
    logits, truth, _ = tensors(LOGITS, TRUTH, VALID)
    nothing = torch.zeros_like(truth)
    assert float(bce(logits, truth, nothing)) == 0.0
    assert float(soft_dice(logits, truth, nothing)) == 0.0
