"""Refinement of labels against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import Tensor

from dmn_train.memory.options import RefineRule, RefineSpec
from dmn_train.memory.refine import agree, certainty, multiplied, power, refine


def row(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_probabilities_are_multiplied_and_made_to_add_up_to_one() -> None:
    # p = 0.8, q = 0.9 and 0.1: 0.72 / (0.72 + 0.02), 0.08 / (0.08 + 0.18); with eta 1/2: q counts sqrt(9).
    q = torch.logit(row(0.9, 0.1))
    torch.testing.assert_close(multiplied(row(0.8, 0.8), q, 1.0), row(36 / 37, 4 / 13))
    torch.testing.assert_close(multiplied(row(0.8, 0.8), q, 0.5), row(12 / 13, 4 / 7))


def test_a_memory_that_knows_nothing_changes_nothing() -> None:
    torch.testing.assert_close(multiplied(row(0.0, 0.3, 1.0), row(0.0, 0.0, 0.0), 1.0), row(0.0, 0.3, 1.0))


def entropy(p: float) -> float:
    return -p * log(p) - (1 - p) * log(1 - p)


def test_certain_pixels_count_by_their_entropy_and_others_not_at_all() -> None:
    got = certainty(row(0.9, 0.1, 0.8, 0.79, 0.5, 1.0, 0.0), 0.8).flatten().tolist()
    at_9, at_8 = 1 - entropy(0.9) / log(2), 1 - entropy(0.8) / log(2)
    assert got[:3] == [
        pytest.approx(at_9, rel=1e-5),
        pytest.approx(at_9, rel=1e-5),
        pytest.approx(at_8, rel=1e-5),
    ]
    assert got[3:5] == [0.0, 0.0]
    assert got[5:] == [pytest.approx(1.0, abs=1e-4)] * 2


def test_one_half_is_worth_nothing_even_if_all_count() -> None:
    assert float(certainty(row(0.5), 0.5)) == pytest.approx(0.0, abs=1e-6)


def test_who_knows_nothing_agrees() -> None:
    got = agree(row(0.9, 0.9, 0.1, 0.1, 0.9, 0.5), row(2.0, -2.0, -2.0, 2.0, 0.0, 3.0))
    assert got.flatten().tolist() == [True, False, True, False, True, True]


@pytest.mark.parametrize(
    ("rule", "labels", "counts"),
    [
        # p = 0.9, 0.9, 0.6, 0.9 with q = 0.9, 0.2, 0.9 and 1e-3; eta is 1. The last one is flipped.
        ("none", [0.9, 0.9, 0.6, 0.9], [True, True, False, True]),
        ("multiply", [81 / 82, 9 / 13, 27 / 29, 9 / 1008], [True, False, True, True]),
        ("disagreement_ignore", [0.9, 0.9, 0.6, 0.9], [True, False, False, False]),
        ("multiply_and_ignore", [81 / 82, 9 / 13, 27 / 29, 9 / 1008], [True, False, True, False]),
    ],
)
def test_each_rule(rule: RefineRule, labels: list[float], counts: list[bool]) -> None:
    teacher = row(0.9, 0.9, 0.6, 0.9).requires_grad_()
    made = refine(
        teacher, torch.logit(row(0.9, 0.2, 0.9, 1e-3)).requires_grad_(), RefineSpec(rule=rule), progress=1.0
    )
    torch.testing.assert_close(made.labels, row(*labels))
    torch.testing.assert_close(made.weights, certainty(row(*labels), 0.5) * torch.tensor(counts))
    assert float(made.agreement) == 0.5
    assert not made.labels.requires_grad
    assert not made.weights.requires_grad


def test_the_power_rises_evenly() -> None:
    assert [power(RefineSpec(), progress) for progress in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]
    teacher, memory = row(0.8), torch.logit(row(0.9))
    torch.testing.assert_close(refine(teacher, memory, RefineSpec(), 0.0).labels, row(12 / 13))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extremes_are_numbers(dtype: torch.dtype) -> None:
    teacher = row(0.0, 1.0, 0.0, 1.0).to(dtype)
    made = refine(teacher, row(-200.0, -200.0, 200.0, 200.0).to(dtype), RefineSpec(), 1.0)
    assert made.labels.dtype == torch.float32
    torch.testing.assert_close(made.labels, row(0.0, 0.0, 1.0, 1.0))
    assert made.weights.flatten().tolist() == [
        pytest.approx(1.0, abs=1e-4),
        0.0,
        0.0,
        pytest.approx(1.0, abs=1e-4),
    ]
