"""Attention maps against NumPy and by hand."""

import numpy as np
import pytest
import torch

from dmn_train.distil.attention import at_depth, attention_distance, attention_loss, attention_map
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features, UNet


def features(base: int, levels: int, seed: int) -> Features:
    torch.manual_seed(seed)
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(9))
    return UNet(NetworkSpec(base, levels, 0)).forward_features(image)


def test_the_map_is_the_mean_square_of_the_channels() -> None:
    feature = torch.tensor([[[[1.0, 2.0]], [[3.0, -4.0]]]])
    assert attention_map(feature).tolist() == [[5.0, 10.0]]


def test_the_map_of_half_precision_is_float32() -> None:
    feature = torch.tensor([[[[1.1]], [[0.3]]]], dtype=torch.bfloat16)
    assert torch.equal(attention_map(feature), attention_map(feature.float()))


def test_the_distance_is_one_minus_the_cosine_of_the_maps() -> None:
    teacher = torch.tensor([[[[3.0, 0.0]]], [[[1.0, 0.0]]]])
    student = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    # The maps of the first image are alike, those of the second (1, 0) and (1, 1).
    assert attention_distance(teacher, student).item() == pytest.approx((0 + 1 - 0.5**0.5) / 2)


def cosine_distance(one: torch.Tensor, two: torch.Tensor) -> float:
    a, b = ((f.detach().numpy() ** 2).mean(axis=1).reshape(len(f), -1) for f in (one, two))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float((1 - cosine).mean())


def test_scales_are_weighted_and_the_third_is_the_bottleneck_of_three_levels() -> None:
    teacher, student = features(4, 3, seed=1), features(2, 3, seed=2)
    got = attention_loss(teacher, student, (0.5, 0.25, 0.125))
    expected = (
        0.5 * cosine_distance(teacher.decoder[1], student.decoder[1])
        + 0.25 * cosine_distance(teacher.decoder[2], student.decoder[2])
        + 0.125 * cosine_distance(teacher.encoder[3], student.encoder[3])
    )
    assert got.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("levels", "count"), [(1, 1), (2, 2), (4, 3)])
def test_scales_that_a_network_does_not_have_do_not_count(levels: int, count: int) -> None:
    teacher, student = features(2, levels, seed=1), features(2, levels, seed=2)
    expected = sum(cosine_distance(at_depth(teacher, d), at_depth(student, d)) for d in range(1, count + 1))
    assert attention_loss(teacher, student, (1.0, 1.0, 1.0)).item() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_the_students_alone() -> None:
    teacher, student = features(2, 2, seed=1), features(2, 2, seed=2)
    for one in (teacher, student):
        one.decoder[1].retain_grad()
    attention_loss(teacher, student, (1.0, 0.0, 0.0)).backward()
    assert teacher.decoder[1].grad is None
    assert student.decoder[1].grad is not None
    assert student.decoder[1].grad.abs().max() > 0


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_half_precision_and_dead_features_are_numbers(value: float) -> None:
    teacher = torch.full((1, 2, 2, 2), value, dtype=torch.bfloat16)
    student = teacher.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = attention_distance(teacher, student)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
