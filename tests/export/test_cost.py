"""Multiply-adds and values a pixel, against hand counts and torch's own shapes."""

from collections.abc import Callable

import pytest
from torch import nn

from dmn_export.cost import network_cost
from dmn_export.onnx_export import export_onnx
from dmn_runtime.errors import CertificateError
from dmn_train.networks.cost import multiply_adds_per_px
from dmn_train.networks.sizes import NetworkSpec


def test_one_convolution_by_hand() -> None:
    cost = network_cost(export_onnx(nn.Conv2d(3, 5, 3, padding=1), 3, 1), 3)
    assert cost.multiply_adds_per_px == 5 * 3 * 9
    assert cost.values_per_px == 5


def test_what_lies_a_level_down_costs_a_quarter() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 8, 1), nn.Upsample(scale_factor=2)
    )
    cost = network_cost(export_onnx(network, 1, 2), 1)
    assert cost.multiply_adds_per_px == 4 * 9 + 8 * 4 / 4
    assert cost.values_per_px == 4 + 4 / 4 + 8 / 4 + 8


def test_the_sum_over_the_layers_of_a_u_net(lively: Callable[..., nn.Module]) -> None:
    network = lively(base=4, levels=2, context=1)
    expected = 0.0
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            level = {"down.1": 1, "down.2": 2, "up.1": 1, "lift.1": 1}.get(".".join(name.split(".")[:2]), 0)
            expected += layer.weight.numel() / 4**level
    cost = network_cost(export_onnx(network, 3, 4), 3)
    assert cost.multiply_adds_per_px == expected
    assert cost.values_per_px > 4 * 4


def test_a_graph_without_convolutions_is_refused() -> None:
    with pytest.raises(CertificateError, match="holds no convolution"):
        network_cost(export_onnx(nn.Sequential(nn.ReLU()), 1, 1), 1)


@pytest.mark.parametrize(("base", "levels", "context"), [(4, 2, 1), (8, 3, 0)])
def test_it_is_what_the_spec_says(
    lively: Callable[..., nn.Module], base: int, levels: int, context: int
) -> None:
    spec = NetworkSpec(base, levels, context)
    onnx_file = export_onnx(lively(base, levels, context), spec.in_channels, spec.stride_px)
    assert network_cost(onnx_file, spec.in_channels).multiply_adds_per_px == multiply_adds_per_px(spec)
