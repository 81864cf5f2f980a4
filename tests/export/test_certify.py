"""Parity: what passes, what does not, and that the worst tile is named."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dmn_export.certify import FP32_TOLERANCE, Tolerance, certify, probability
from dmn_runtime.errors import CertificateError

Onnx = Callable[[float], bytes]


def shifted(bias: float) -> nn.Module:
    """A network whose logit is the input plus `bias`."""
    network = nn.Conv2d(1, 1, 1).requires_grad_(False)
    network.weight.fill_(1.0)
    assert network.bias is not None
    network.bias.fill_(bias)
    return network.eval()


def tiles(*values: float) -> NDArray[np.float32]:
    """One tile of 4 x 4 px of each value."""
    return np.stack([np.full((1, 4, 4), value, np.float32) for value in values])


def test_the_fp32_tolerance_is_the_one_of_the_design() -> None:
    assert Tolerance(max_dp=1e-4, iou_change=0.0005) == FP32_TOLERANCE


def test_an_equal_network_passes_and_the_certificate_says_how_it_was_measured(shifted_onnx: Onnx) -> None:
    certificate = certify(shifted(0.0), shifted_onnx(0.0), tiles(-1, 0, 2), 0.5, FP32_TOLERANCE)
    assert certificate.max_dp == 0.0
    assert certificate.mean_dp == 0.0
    assert certificate.iou_change == 0.0
    assert certificate.tiles == 3
    assert certificate.passed
    assert (certificate.tolerance_max_dp, certificate.tolerance_iou_change) == (1e-4, 0.0005)
    assert certificate.engine == f"onnxruntime {onnxruntime.__version__} CPU"


def test_the_figures_are_those_of_arithmetic(shifted_onnx: Onnx) -> None:
    # Logits 0.05 and 8 become 0.25 and 8.2; at p >= 0.52 the masks have 16 and 32 px, one within the other.
    lax = Tolerance(max_dp=1.0, iou_change=1.0)
    certificate = certify(shifted(0.0), shifted_onnx(0.2), tiles(0.05, 8), 0.52, lax)
    first, second = (
        1 / (1 + np.exp(-0.25)) - 1 / (1 + np.exp(-0.05)),
        1 / (1 + np.exp(-8.2)) - 1 / (1 + np.exp(-8.0)),
    )
    assert certificate.max_dp == pytest.approx(first, rel=1e-5)
    assert certificate.mean_dp == pytest.approx((first + second) / 2, rel=1e-5)
    assert certificate.iou_change == 0.5


def test_two_empty_masks_are_equal(shifted_onnx: Onnx) -> None:
    certificate = certify(shifted(0.0), shifted_onnx(0.0), tiles(-5), 0.5, FP32_TOLERANCE)
    assert certificate.iou_change == 0.0


def test_a_difference_in_probability_is_refused_and_its_tile_named(shifted_onnx: Onnx) -> None:
    other = shifted_onnx(1e-3)
    with pytest.raises(CertificateError, match=r" 0\.00025 in probability \(allowed 0\.0001\).*tile 2 of 3"):
        certify(shifted(0.0), other, tiles(-5, 0, 5), 0.25, FP32_TOLERANCE)


def test_a_mask_that_changes_is_refused_though_probabilities_are_near(shifted_onnx: Onnx) -> None:
    other = shifted_onnx(2e-4)
    with pytest.raises(CertificateError, match=r"0\.5 in IoU \(allowed 0\.0005\)"):
        certify(shifted(0.0), other, tiles(-1e-4, 1), 0.5, FP32_TOLERANCE)


def test_not_a_number_is_refused(shifted_onnx: Onnx) -> None:
    other = shifted_onnx(float("nan"))
    with pytest.raises(CertificateError, match="worst on tile 1 of 2"):
        certify(shifted(0.0), other, tiles(0, 1), 0.9, FP32_TOLERANCE)


def test_probability_is_the_sigmoid_and_does_not_overflow() -> None:
    logits = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0], np.float32)
    expected = [0.0, torch.tensor(-1.0).sigmoid().item(), 0.5, torch.tensor(1.0).sigmoid().item(), 1.0]
    np.testing.assert_allclose(probability(logits), expected, atol=1e-7)
