"""Losses against plain NumPy and closed forms."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_train.boundary import boundary_weights
from dmn_train.losses import bce, focal, pixel_weights, segmentation_loss, soft_dice, tversky
from dmn_train.sections import LossSection

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 2, (2, 1, 5, 7)).astype(np.float32)
TRUTH = (RNG.random((2, 1, 5, 7)) < 0.3).astype(np.float32)
VALID = (RNG.random((2, 1, 5, 7)) < 0.7).astype(np.float32)


def tensors(*arrays: NDArray[np.float32]) -> list[torch.Tensor]:
    return [torch.from_numpy(array.copy()) for array in arrays]


def case(seed: int) -> list[torch.Tensor]:
    """Return logits, truth and valid drawn with `seed`; some draws have no foreground or no labels."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), 1, int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    truth, valid = rng.random(shape) < rng.choice([0.0, 0.4]), rng.random(shape) < rng.choice([0.0, 0.7])
    logits = rng.normal(0, 3, shape)
    return tensors(*(array.astype(np.float32) for array in (logits, truth, valid)))


def labelled(*case: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability of foreground and the truth of the labelled pixels."""
    logits, truth, valid = (tensor.numpy().astype(np.float64) for tensor in case)
    return (1 / (1 + np.exp(-logits)))[valid == 1], truth[valid == 1]


SEEDS = st.integers(0, 2**32 - 1)
EVERYTHING = LossSection(
    cross_entropy=0.5, focal=2.0, dice=0.25, tversky=3.0, foreground_weight=4.0, focal_gamma=0.5,
    boundary_weight=5.0, boundary_px=1.5,
)  # fmt: skip


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


@given(SEEDS, st.integers(1, 9))
def test_a_weight_of_the_foreground_counts_its_pixels_so_often(seed: int, often: int) -> None:
    logits, truth, valid = case(seed)
    p, t = labelled(logits, truth, valid)
    each = -np.log(np.where(t == 1, p, 1 - p))
    repeated = np.repeat(each, np.where(t == 1, often, 1))
    weights = pixel_weights(truth, valid, LossSection(foreground_weight=float(often)))
    expected = repeated.mean() if len(repeated) else 0.0
    assert float(bce(logits, truth, weights)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(SEEDS, st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), st.sampled_from([0.25, 1.0, 3.0]))
def test_focal_is_the_weighted_mean_of_the_papers_equation_5(seed: int, gamma: float, alpha: float) -> None:
    logits, truth, valid = case(seed)
    p, t = labelled(logits, truth, valid)
    true_class, counts = np.where(t == 1, p, 1 - p), np.where(t == 1, alpha, 1.0)
    each = -((1 - true_class) ** gamma) * np.log(true_class)
    expected = np.average(each, weights=counts) if len(each) else 0.0
    weights = pixel_weights(truth, valid, LossSection(foreground_weight=alpha))
    assert float(focal(logits, truth, weights, gamma)) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_focal_at_even_odds_and_without_gamma() -> None:
    logits, truth, valid = tensors(LOGITS, TRUTH, VALID)
    assert float(focal(0 * logits, truth, valid, 3.0)) == pytest.approx(log(2) / 8)
    assert float(focal(logits, truth, valid, 0.0)) == float(bce(logits, truth, valid))


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_tversky_weighs_false_positives_and_negatives(seed: int, alpha: float, beta: float) -> None:
    logits, truth, valid = case(seed)
    p, t = labelled(logits, truth, valid)
    hit, wrong = (p * t).sum(), alpha * (p * (1 - t)).sum() + beta * ((1 - p) * t).sum()
    expected = 1 - (hit + 0.5) / (hit + wrong + 0.5)
    assert float(tversky(logits, truth, valid, alpha, beta)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(SEEDS)
def test_even_tversky_is_dice(seed: int) -> None:
    drawn = case(seed)
    assert float(tversky(*drawn, 0.5, 0.5)) == pytest.approx(float(soft_dice(*drawn)), abs=1e-5)


@given(SEEDS)
def test_the_default_is_cross_entropy_plus_dice(seed: int) -> None:
    drawn = case(seed)
    losses = segmentation_loss(*drawn, LossSection())
    assert list(losses) == ["segmentation", "cross_entropy", "dice"]
    assert torch.equal(losses["segmentation"], bce(*drawn) + 1.0 * soft_dice(*drawn))


@given(SEEDS)
def test_all_terms_are_summed_with_their_weights(seed: int) -> None:
    logits, truth, valid = case(seed)
    weights = valid * (1 + 3 * truth) * boundary_weights(truth, 5.0, 1.5, valid)
    terms = {
        "cross_entropy": bce(logits, truth, weights),
        "focal": focal(logits, truth, weights, 0.5),
        "dice": soft_dice(logits, truth, valid),
        "tversky": tversky(logits, truth, valid, 0.3, 0.7),
    }
    losses = segmentation_loss(logits, truth, valid, EVERYTHING)
    assert {name: float(value) for name, value in losses.items() if name != "segmentation"} == pytest.approx(
        {name: float(value) for name, value in terms.items()}
    )
    total = 0.5 * terms["cross_entropy"] + 2 * terms["focal"] + 0.25 * terms["dice"] + 3 * terms["tversky"]
    assert float(losses["segmentation"]) == pytest.approx(float(total))


@pytest.mark.parametrize("term", ["cross_entropy", "focal", "dice", "tversky"])
def test_a_term_of_weight_0_is_left_out(term: str) -> None:
    weights: dict[str, Any] = {"cross_entropy": 0.0, "focal": 0.0, "dice": 0.0, "tversky": 0.0, term: 2.0}
    losses = segmentation_loss(*tensors(LOGITS, TRUTH, VALID), LossSection(**weights))
    assert list(losses) == ["segmentation", term]
    assert float(losses["segmentation"]) == 2 * float(losses[term])


@given(SEEDS)
def test_only_labelled_pixels_have_a_gradient(seed: int) -> None:
    logits, truth, valid = case(seed)
    logits.requires_grad_()
    loss = segmentation_loss(logits, truth, valid, EVERYTHING)["segmentation"]
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[valid == 0] == 0).all()
    if not valid.any():
        assert float(loss.detach()) == 0.0


def test_unlabelled_truth_changes_nothing() -> None:
    logits, truth, valid = tensors(LOGITS, TRUTH, VALID)
    other = torch.where(valid == 1, truth, 1 - truth)
    assert segmentation_loss(logits, truth, valid, EVERYTHING) == segmentation_loss(
        logits, other, valid, EVERYTHING
    )


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_certain_pixels_keep_the_gradient_finite(extreme: float, gamma: float) -> None:
    _, truth, valid = tensors(LOGITS, TRUTH, VALID)
    logits = torch.full_like(truth, extreme, requires_grad=True)
    focal(logits, truth, valid, gamma).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
