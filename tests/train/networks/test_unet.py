"""The U-Net: shapes, stride, features."""

import pytest
import torch

from dmn_train.networks.sizes import SIZES, NetworkSpec
from dmn_train.networks.unet import UNet


def small(context: int = 0) -> UNet:
    torch.manual_seed(0)
    return UNet(NetworkSpec(base=3, levels=2, context_slices=context)).eval()


@pytest.mark.parametrize(
    ("name", "base", "parameters"), [("s8", 8, 134473), ("s16", 16, 536209), ("s32", 32, 2141473)]
)
def test_named_sizes(name: str, base: int, parameters: int) -> None:
    spec = SIZES[name]
    assert (spec.base, spec.levels, spec.context_slices, spec.stride_px, spec.in_channels) == (
        base,
        3,
        0,
        8,
        1,
    )
    assert sum(p.numel() for p in UNet(spec).parameters()) == parameters


@pytest.mark.parametrize("context", [0, 2])
def test_one_logit_a_pixel(context: int) -> None:
    network = small(context)
    assert network(torch.zeros(2, 2 * context + 1, 8, 12)).shape == (2, 1, 8, 12)


def test_features_are_ordered_from_full_resolution_to_bottleneck() -> None:
    features = small().forward_features(torch.zeros(1, 1, 16, 24))
    assert [tuple(f.shape) for f in features.encoder] == [(1, 3, 16, 24), (1, 6, 8, 12), (1, 12, 4, 6)]
    assert [tuple(f.shape) for f in features.decoder] == [(1, 3, 16, 24), (1, 6, 8, 12)]


def test_shifting_the_input_by_the_stride_shifts_the_output() -> None:
    network = small().double()
    image = torch.randn(1, 1, 96, 96, dtype=torch.float64)
    inside = slice(40, 56)
    still = network(image)[..., inside, inside]
    moved = network(torch.roll(image, (4, -8), dims=(2, 3)))[..., 44:60, 32:48]
    torch.testing.assert_close(still, moved, rtol=0, atol=1e-12)


def test_shifting_by_less_than_the_stride_does_not() -> None:
    network = small().double()
    image = torch.randn(1, 1, 96, 96, dtype=torch.float64)
    still = network(image)[..., 40:56, 40:56]
    moved = network(torch.roll(image, 1, dims=2))[..., 41:57, 40:56]
    assert (still - moved).abs().max() > 1e-6
