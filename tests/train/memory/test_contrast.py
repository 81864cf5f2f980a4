"""The contrast loss against numbers worked out by hand."""

from math import exp, log

import pytest
import torch

from dmn_train.memory.contrast import contrast_loss
from dmn_train.memory.prototypes import Prototypes

HELD = Prototypes(
    torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]),
    torch.tensor([[True, True], [True, False], [False, False]]),
)


def test_a_vector_is_drawn_to_the_nearest_slot_of_its_class() -> None:
    rows = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8]])
    got = contrast_loss(rows, torch.tensor([0, 1, -1, 2]), HELD, temperature=0.5)
    every = exp(1.2) + exp(1.6) + exp(-1.2)
    expected = -(log(exp(1.6) / every) + log(exp(-1.2) / every)) / 2
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_goes_to_the_vectors_that_count() -> None:
    rows = torch.tensor([[0.6, 0.8], [0.6, 0.8]], requires_grad=True)
    contrast_loss(rows, torch.tensor([1, -1]), HELD).backward()
    assert rows.grad is not None
    assert rows.grad[0] @ torch.tensor([-1.0, 0.0]) < 0  # downhill is towards the slot
    assert rows.grad[1].tolist() == [0.0, 0.0]
    assert not HELD.vectors.requires_grad


def test_nothing_that_counts_is_a_loss_of_zero_with_gradients_of_zero() -> None:
    rows = torch.tensor([[0.6, 0.8]], requires_grad=True)
    loss = contrast_loss(rows, torch.tensor([2]), HELD)
    loss.backward()
    assert loss.item() == 0.0
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0.0, 0.0]]


def test_half_precision_is_no_other_loss() -> None:
    rows = torch.tensor([[0.6, 0.8]], requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrast_loss(rows, torch.tensor([0]), HELD)
    assert torch.equal(mixed, contrast_loss(rows, torch.tensor([0]), HELD))
    assert mixed.dtype == torch.float32
