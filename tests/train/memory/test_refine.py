"""Refinement of labels against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import Tensor

from dmn_train.memory.options import RefineSpec
from dmn_train.memory.refine import certainty, memory_agrees, multiplied, power


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
    got = memory_agrees(row(0.9, 0.9, 0.1, 0.1, 0.9, 0.5), row(2.0, -2.0, -2.0, 2.0, 0.0, 3.0))
    assert got.flatten().tolist() == [True, False, True, False, True, True]


def test_the_power_rises_evenly() -> None:
    assert [power(RefineSpec(), progress) for progress in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extremes_are_numbers(dtype: torch.dtype) -> None:
    teacher = row(0.0, 1.0, 0.0, 1.0).to(dtype)
    labels = multiplied(teacher, row(-200.0, -200.0, 200.0, 200.0).to(dtype), 0.5)
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels, row(0.0, 0.0, 1.0, 1.0))
    torch.testing.assert_close(certainty(labels, 0.8), row(1.0, 1.0, 1.0, 1.0), atol=1e-4, rtol=0)
