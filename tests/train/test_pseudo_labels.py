"""Pseudo-labels and their losses against numbers worked out by hand."""

from math import ceil, exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dmn_train.losses import bce, soft_dice
from dmn_train.pseudo_labels import (
    agree,
    balanced_thresholds,
    class_thresholds,
    make_pseudo_labels,
    pseudo_label_loss,
    ramp,
    symmetric_cross_entropy,
)
from dmn_train.sections import PseudoLabelSection

FOREGROUND, BACKGROUND = [0.95, 0.8, 0.7, 0.6, 0.55], [0.4, 0.3, 0.2, 0.1, 0.05]


def row(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


ONE_VIEW = row(*FOREGROUND, *BACKGROUND)[None]


def test_the_label_is_the_mean_of_the_views_or_its_side_of_one_half() -> None:
    views = torch.stack([row(0.9, 0.2, 0.6), row(0.7, 0.6, 0.3)])
    soft = make_pseudo_labels(views, PseudoLabelSection(confidence="share"))
    hard = make_pseudo_labels(views, PseudoLabelSection(confidence="share", kind="hard"))
    torch.testing.assert_close(soft.labels, row(0.8, 0.4, 0.45))
    assert hard.labels.flatten().tolist() == [1.0, 0.0, 0.0]
    assert float(hard.foreground_share) == pytest.approx(1 / 3)


def test_pixels_that_views_disagree_on_do_not_count() -> None:
    views = torch.stack([row(0.9, 0.2, 0.6), row(0.7, 0.6, 0.3)])
    assert agree(views).flatten().tolist() == [True, False, False]
    made = make_pseudo_labels(views, PseudoLabelSection(confidence="share"))
    assert made.weights.flatten().tolist() == [1.0, 0.0, 0.0]
    blind = make_pseudo_labels(views, PseudoLabelSection(confidence="share", agreement=False))
    assert blind.weights.flatten().tolist() == [1.0, 1.0, 1.0]


def test_share_counts_all_pixels_and_trusts_the_batch_by_its_confident_ones() -> None:
    made = make_pseudo_labels(ONE_VIEW, PseudoLabelSection(confidence="share", high=0.8, low=0.2))
    assert made.weights.flatten().tolist() == [1.0] * 10
    assert float(made.trust) == float(made.confident_share) == pytest.approx(0.5)


def test_threshold_counts_the_confident_pixels() -> None:
    made = make_pseudo_labels(ONE_VIEW, PseudoLabelSection(confidence="threshold", high=0.9, low=0.2))
    assert made.weights.flatten().tolist() == [1.0, 0, 0, 0, 0, 0, 0, 1.0, 1.0, 1.0]
    assert float(made.trust) == pytest.approx(0.4)


def test_quantile_counts_the_same_share_of_each_class() -> None:
    made = make_pseudo_labels(ONE_VIEW, PseudoLabelSection(confidence="quantile", keep=0.4))
    assert made.weights.flatten().tolist() == [1.0, 1.0, 0, 0, 0, 0, 0, 0, 1.0, 1.0]
    assert float(made.trust) == pytest.approx(0.4)


def test_balanced_leaves_out_as_many_of_each_class() -> None:
    made = make_pseudo_labels(ONE_VIEW, PseudoLabelSection(keep=0.4))
    assert made.weights.flatten().tolist() == [1.0, 1.0, 0, 0, 0, 0, 0, 0, 1.0, 1.0]
    rare = row(0.9, 0.6, *[0.3, 0.2], *[0.01] * 16)[None]
    made = make_pseudo_labels(rare, PseudoLabelSection(keep=0.5))
    assert made.weights.flatten().tolist() == [1.0, 0.0, 0.0] + [1.0] * 17
    of_quantiles = make_pseudo_labels(rare, PseudoLabelSection(confidence="quantile", keep=0.5))
    assert of_quantiles.weights.flatten().tolist() == [1.0, 0.0, 0.0, 0.0] + [1.0] * 16  # ties count


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 999), min_size=1, max_size=60, unique=True), st.floats(0.05, 1.0))
def test_balanced_thresholds_leave_out_equal_counts(thousandths: list[int], keep: float) -> None:
    probability = torch.tensor(thousandths) / 1000
    low, high = balanced_thresholds(probability, keep)
    foreground = probability >= 0.5
    left_out = int((foreground & (probability < high)).sum())
    assert left_out == int(foreground.sum()) - ceil(keep * int(foreground.sum()))
    assert int((~foreground & (probability > low)).sum()) == min(left_out, int((~foreground).sum()))


def test_one_threshold_drowns_a_rare_foreground_and_quantiles_do_not() -> None:
    views = row(*[0.7] * 2, *[0.02] * 18)[None]
    share = {
        kind: float((made.labels * made.weights).sum() / made.weights.sum())
        for kind in ("threshold", "quantile", "balanced")
        for made in [make_pseudo_labels(views, PseudoLabelSection(confidence=kind, kind="hard"))]  # type: ignore[arg-type]
    }
    assert share == {"threshold": 0.0, "quantile": pytest.approx(0.1), "balanced": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("keep", "low", "high"), [(0.2, 0.05, 0.95), (0.4, 0.1, 0.8), (0.5, 0.2, 0.7), (1.0, 0.4, 0.55)]
)
def test_thresholds_are_ranks_within_the_classes(keep: float, low: float, high: float) -> None:
    found = class_thresholds(torch.tensor(BACKGROUND + FOREGROUND), keep)
    assert [float(t) for t in found] == [pytest.approx(low), pytest.approx(high)]


def test_a_class_that_is_not_there_has_a_threshold_that_nothing_reaches() -> None:
    low, high = class_thresholds(torch.tensor([0.1, 0.2]), 1.0)
    assert (float(low), float(high)) == (pytest.approx(0.2), 2.0)
    low, high = class_thresholds(torch.tensor([0.9]), 1.0)
    assert (float(low), float(high)) == (-2.0, pytest.approx(0.9))


def test_symmetric_cross_entropy_by_hand() -> None:
    """p = 0.8 and t = 0.9; p = 0.5 and t = 0, which stands for 1e-4; the last pixel does not count."""
    logits = torch.logit(row(0.8, 0.5, 0.3))
    forward = -(0.9 * log(0.8) + 0.1 * log(0.2)) - log(0.5)
    reverse = -(0.8 * log(0.9) + 0.2 * log(0.1)) - 0.5 * (log(1e-4) + log(1 - 1e-4))
    loss = symmetric_cross_entropy(logits, row(0.9, 0.0, 1.0), row(1.0, 1.0, 0.0))
    assert float(loss) == pytest.approx((0.1 * forward + reverse) / 2, rel=1e-5)


def test_the_reverse_term_does_not_pull_harder_where_the_prediction_is_surer() -> None:
    """By probability; cross-entropy's pull on a wrong label grows without a bound."""
    pulls = []
    for probability in (0.6, 0.999):
        leaf = torch.logit(row(probability)).requires_grad_(True)
        loss = symmetric_cross_entropy(leaf, row(0.0), row(1.0)) - 0.1 * bce(leaf, row(0.0), row(1.0))
        (gradient,) = torch.autograd.grad(loss, leaf)
        pulls.append(float(gradient) / (probability * (1.0 - probability)))
    assert pulls[0] == pytest.approx(pulls[1], rel=1e-2) == pytest.approx(-log(1e-4), rel=1e-2)


def test_the_loss_is_the_one_that_is_named() -> None:
    logits, labels, weights = row(1.0, -2.0, 0.5), row(0.9, 0.2, 0.6), row(1.0, 1.0, 0.0)
    named = {
        name: pseudo_label_loss(logits, labels, weights, PseudoLabelSection(loss=name))  # type: ignore[arg-type]
        for name in ("cross_entropy", "bce_dice", "symmetric")
    }
    both = bce(logits, labels, weights) + soft_dice(logits, labels, weights)
    torch.testing.assert_close(named["cross_entropy"], bce(logits, labels, weights))
    torch.testing.assert_close(named["bce_dice"], both)
    torch.testing.assert_close(named["symmetric"], symmetric_cross_entropy(logits, labels, weights))


def test_no_pixel_that_counts_is_a_loss_without_gradient() -> None:
    logits = row(1.0, -2.0).requires_grad_(True)
    for name in ("cross_entropy", "bce_dice", "symmetric"):
        section = PseudoLabelSection(loss=name)  # type: ignore[arg-type]
        loss = pseudo_label_loss(logits, row(1.0, 1.0), row(0.0, 0.0), section)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.abs().max() == 0.0


@pytest.mark.parametrize(
    ("progress", "until", "expected"),
    [(0.0, 0.5, exp(-5)), (0.25, 0.5, exp(-1.25)), (0.5, 0.5, 1.0), (0.9, 0.5, 1.0), (0.0, 0.0, 1.0)],
)
def test_the_ramp(progress: float, until: float, expected: float) -> None:
    assert ramp(progress, until) == pytest.approx(expected)
