"""The divergence of outputs against NumPy."""

import numpy as np
import pytest
import torch

from dmn_train.distil.soft import logits_of, soft_divergence


def test_it_is_the_weighted_mean_divergence_of_softened_probabilities() -> None:
    rng = np.random.default_rng(1)
    teacher, student = rng.normal(scale=3, size=(2, 2, 1, 4, 5))
    weights = rng.random((2, 1, 4, 5))
    p, s = (1 / (1 + np.exp(-logit / 2)) for logit in (teacher, student))
    each = p * np.log(p / s) + (1 - p) * np.log((1 - p) / (1 - s))
    expected = 4 * (each * weights).sum() / weights.sum()
    given = (torch.from_numpy(array).float() for array in (teacher, student, weights))
    assert soft_divergence(*given, temperature=2.0).item() == pytest.approx(expected, rel=1e-5)


def test_equal_outputs_do_not_diverge() -> None:
    logits = torch.tensor([[[[-3.0, 0.0, 5.0]]]])
    assert soft_divergence(logits, logits, torch.ones_like(logits), 2.0).item() == pytest.approx(
        0.0, abs=1e-7
    )


def test_the_gradient_is_the_students_and_points_at_the_teacher() -> None:
    teacher = torch.tensor([[[[1.0, 1.0]]]], requires_grad=True)
    student = torch.tensor([[[[-1.0, -1.0]]]], requires_grad=True)
    soft_divergence(teacher, student, torch.tensor([[[[1.0, 0.0]]]]), 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None
    # d/ds T^2 KL = T (sigmoid(s / T) - sigmoid(t / T)), and the mean is over the one pixel that counts.
    expected = 2 * (1 / (1 + np.exp(0.5)) - 1 / (1 + np.exp(-0.5)))
    assert student.grad.flatten().tolist() == [pytest.approx(expected), 0.0]


def test_no_pixel_that_counts_is_no_loss() -> None:
    logits = torch.ones(1, 1, 2, 2)
    assert soft_divergence(logits, -logits, torch.zeros_like(logits), 2.0).item() == 0.0


def test_extremes_and_half_precision_are_numbers() -> None:
    teacher = logits_of(torch.tensor([[[[0.0, 1.0, 1.0]]]]))
    student = torch.tensor([[[[90.0, -90.0, 90.0]]]], dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = soft_divergence(teacher, student, torch.ones(1, 1, 1, 3), 2.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_half_precision_is_brought_to_float32_before_it_is_softened() -> None:
    teacher, student = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1.234, dtype=torch.bfloat16)
    expected = soft_divergence(teacher, student.float(), torch.ones(1, 1, 1, 1), 3.0)
    assert torch.equal(soft_divergence(teacher, student, torch.ones(1, 1, 1, 1), 3.0), expected)


def test_logits_of_probabilities() -> None:
    got = logits_of(torch.tensor([0.5, 0.9, 0.0, 1.0]))
    torch.testing.assert_close(got[:2], torch.tensor([0.0, 2.1972246]))
    assert got.isfinite().all()
