"""Retrieval against numbers worked out by hand and by NumPy."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn import functional

from dmn_train.memory.options import RetrievalSpec
from dmn_train.memory.prototypes import Prototypes
from dmn_train.memory.retrieve import at_pixels, class_scores, foreground_logit, retrieve

EMPTY = -torch.inf


def test_a_class_scores_the_cosines_weighted_by_their_softmax() -> None:
    got = class_scores(torch.tensor([[[0.9, 0.8], [0.1, 0.1]]]), temperature=0.1)
    share = exp(9) / (exp(9) + exp(8))
    assert got.tolist() == [[pytest.approx(0.9 * share + 0.8 * (1 - share)), pytest.approx(0.1)]]


def test_empty_slots_have_no_share_and_classes_of_empty_slots_no_score() -> None:
    got = class_scores(torch.tensor([[[-0.9, EMPTY], [EMPTY, EMPTY]]]), temperature=0.1)
    assert got.tolist() == [[pytest.approx(-0.9), -torch.inf]]


def test_two_classes_are_told_apart_by_the_difference_of_their_scores() -> None:
    got = foreground_logit(torch.tensor([[0.9, 0.7], [0.2, 0.2]]), temperature=0.1)
    torch.testing.assert_close(got, torch.tensor([2.0, 0.0]))


def test_four_classes_are_told_apart_by_the_sums_of_their_exponentials() -> None:
    got = foreground_logit(torch.tensor([[0.5, 0.3, 0.4, 0.0]]), temperature=0.1)
    assert float(got) == pytest.approx(log((exp(5) + exp(3)) / (exp(4) + exp(0))), rel=1e-5)


def test_a_class_that_is_still_unknown_does_not_outvote_the_other_group() -> None:
    got = foreground_logit(torch.tensor([[0.5, 0.5, 0.5, EMPTY]]), temperature=0.1)
    assert float(got) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("scores", [[EMPTY, EMPTY, 0.9, 0.1], [0.9, 0.1, EMPTY, EMPTY], [EMPTY] * 4])
def test_without_foreground_or_background_nothing_is_known(scores: list[float]) -> None:
    assert foreground_logit(torch.tensor([scores]), temperature=0.1).tolist() == [0.0]


def test_a_map_is_answered_as_numpy_does() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(2, 6, 3, 4))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    p = rng.normal(size=(4, 3, 6))
    p /= np.linalg.norm(p, axis=2, keepdims=True)
    cosine = np.einsum("ndhw,ckd->nckhw", z, p)
    a = np.exp(cosine / 0.2)
    a /= a.sum(axis=2, keepdims=True)
    scores = (a * cosine).sum(axis=2)
    posterior = np.exp(scores / 0.3)
    q = posterior[:, :2].sum(axis=1) / posterior.sum(axis=1)

    held = Prototypes(torch.from_numpy(p).float(), torch.ones(4, 3, dtype=torch.bool))
    vectors = torch.from_numpy(z).float().requires_grad_()
    got = retrieve(vectors, held, RetrievalSpec(slot_temperature=0.2, class_temperature=0.3))
    np.testing.assert_allclose(got.scores.numpy(), scores, atol=1e-5)
    np.testing.assert_allclose(got.logit.sigmoid()[:, 0].numpy(), q, atol=1e-5)
    assert not got.scores.requires_grad
    assert not got.logit.requires_grad


def test_retrieval_under_autocast_is_that_without() -> None:
    generator = torch.Generator().manual_seed(2)
    vectors = functional.normalize(torch.randn(1, 8, 4, 4, generator=generator), dim=1)
    held = Prototypes(
        functional.normalize(torch.randn(4, 2, 8, generator=generator), dim=2),
        torch.tensor([[True, True], [True, False], [True, True], [False, False]]),
    )
    plain = retrieve(vectors, held, RetrievalSpec())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = retrieve(vectors, held, RetrievalSpec())
    assert torch.equal(plain.logit, mixed.logit)
    assert plain.logit.isfinite().all()


def test_logits_are_interpolated_between_cells() -> None:
    got = at_pixels(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
    assert got.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
