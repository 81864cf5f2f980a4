"""Multiply-adds a pixel, against a count on the layers themselves."""

import pytest
import torch
from torch import Tensor, nn

from dmn_train.networks.cost import multiply_adds_per_px
from dmn_train.networks.sizes import SIZES, NetworkSpec
from dmn_train.networks.unet import UNet

EDGE_PX = 32


@pytest.mark.parametrize("spec", [NetworkSpec(4, 2, 1), NetworkSpec(3, 3, 0), SIZES["s8"]])
def test_it_is_what_the_layers_multiply(spec: NetworkSpec) -> None:
    network, products = UNet(spec).eval(), []

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        products.append(out.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    network(torch.zeros(1, spec.in_channels, EDGE_PX, EDGE_PX))
    assert multiply_adds_per_px(spec) == sum(products) / EDGE_PX**2


def test_half_the_width_is_about_a_quarter_of_the_work() -> None:
    s8, s16 = (multiply_adds_per_px(SIZES[name]) for name in ("s8", "s16"))
    assert 0.25 < s8 / s16 < 0.26
