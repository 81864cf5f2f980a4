"""Stride and halo are measured: against arithmetic by hand, and against tiling itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dmn_export.receptive import Reach, measure_radius, measure_reach, measure_stride
from dmn_runtime.errors import CertificateError

Build = Callable[..., nn.Module]


def encoder_needs(level: int, low: int, high: int) -> tuple[int, int]:
    """Pixels of the image behind [low, high] of the encoder's output: two 3x3, then 2x2 pooling."""
    low, high = low - 2, high + 2
    return (low, high) if level == 0 else encoder_needs(level - 1, 2 * low, 2 * high + 1)


def decoder_needs(level: int, levels: int, low: int, high: int) -> tuple[int, int]:
    """The same for the decoder: two 3x3 over the skip and over nearest x2 followed by a 3x3."""
    if level == levels:
        return encoder_needs(level, low, high)
    low, high = low - 2, high + 2
    skip = encoder_needs(level, low, high)
    deep = decoder_needs(level + 1, levels, (low - 1) // 2, (high + 1) // 2)
    return min(skip[0], deep[0]), max(skip[1], deep[1])


def radius_by_hand(levels: int) -> int:
    needs = [(pixel, *decoder_needs(0, levels, pixel, pixel)) for pixel in range(2**levels)]
    return max(max(pixel - low, high - pixel) for pixel, low, high in needs)


def test_the_arithmetic_by_hand_is_right_where_a_head_can_follow_it() -> None:
    # Pixel 0, one level: 2 px of convolutions, 1 of the lift: -3 .. 3; halved: -2 .. 1; convolved: -4 .. 3;
    # doubled: -8 .. 7; convolved: -10 .. 9.
    assert decoder_needs(0, 1, 0, 0) == (-10, 9)
    assert [radius_by_hand(levels) for levels in (0, 1, 2, 3)] == [2, 10, 26, 58]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [(1, Reach(2, 10, 10)), (2, Reach(4, 28, 26)), (3, Reach(8, 64, 58))],
)
def test_a_unet_reaches_as_far_as_arithmetic_says(lively: Build, levels: int, expected: Reach) -> None:
    assert measure_reach(lively(base=2, levels=levels), 1) == expected


def test_context_slices_do_not_change_the_reach(lively: Build) -> None:
    assert measure_reach(lively(base=2, levels=1, context=2), 5) == Reach(2, 10, 10)


def test_a_dead_network_reaches_as_far_as_a_live_one(lively: Build) -> None:
    dead = lively(base=2, levels=1)
    for parameter in dead.parameters():
        parameter.fill_(-1.0)
    for module in dead.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.fill_(100.0)
    assert measure_reach(dead, 1) == Reach(2, 10, 10)


class Striped(nn.Module):
    """Reaches further along x than along y, and further to one side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, (3, 7), padding=(1, 3))

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(torch.roll(image, 5, dims=3))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(1, 1, 1), Reach(1, 0, 0)),
        (nn.Conv2d(1, 1, 3, padding=1), Reach(1, 1, 1)),
        (nn.Conv2d(1, 1, 3, padding=4, dilation=4), Reach(1, 4, 4)),
        (Striped(), Reach(1, 8, 8)),
        (nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), nn.Upsample(scale_factor=4)), Reach(4, 4, 3)),
        (nn.Sequential(nn.MaxPool2d((1, 2)), nn.Upsample(scale_factor=(1.0, 2.0))), Reach(2, 2, 1)),
        (nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")), Reach(2, 2, 2)),
    ],
)
def test_other_layers(network: nn.Module, expected: Reach) -> None:
    assert measure_reach(network, 1) == expected


class GlobalMean(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image - image.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize("network", [nn.InstanceNorm2d(1), GlobalMean()])
def test_a_network_that_sees_the_whole_image_is_refused(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmn_export.receptive.LENGTHS_PX", (256,))
    with pytest.raises(CertificateError, match="not shift-equivariant by any power of two up to 64"):
        measure_stride(network, 1)
    with pytest.raises(
        CertificateError, match="one pixel changes the network's output more than 128 px away"
    ):
        measure_radius(network, 1, 1)


def test_the_network_is_left_as_it_was(lively: Build) -> None:
    network = lively(base=2, levels=1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_reach(network, 1)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def tile_error(network: nn.Module, in_channels: int, stride_px: int, halo_px: int, seed: int) -> float:
    """Return how far the probability of a tile's core, with a halo around it, is from the untiled one."""
    generator = torch.Generator().manual_seed(seed)
    core = 4 * stride_px
    image = torch.randn((1, in_channels, 240, 240), generator=generator)
    a, b = 112, 112 + core
    tile = image[:, :, a - halo_px : b + halo_px, a - halo_px : b + halo_px]
    found = network(tile)[:, :, halo_px : halo_px + core, halo_px : halo_px + core]
    return float((found.sigmoid() - network(image)[:, :, a:b, a:b].sigmoid()).abs().max())


@pytest.mark.parametrize(("levels", "context", "seed"), [(1, 0, 0), (2, 0, 1), (2, 1, 2), (3, 0, 3)])
def test_with_the_measured_halo_a_tile_equals_the_whole(
    lively: Build, levels: int, context: int, seed: int
) -> None:
    network = lively(base=4, levels=levels, context=context, seed=seed)
    reach = measure_reach(network, 2 * context + 1)
    assert tile_error(network, 2 * context + 1, reach.stride_px, reach.halo_px, seed) <= 1e-5


@pytest.mark.parametrize(("levels", "seed"), [(1, 0), (2, 1)])
def test_with_one_stride_less_it_does_not(lively: Build, levels: int, seed: int) -> None:
    network = lively(base=4, levels=levels, seed=seed)
    reach = measure_reach(network, 1)
    assert tile_error(network, 1, reach.stride_px, reach.halo_px - reach.stride_px, seed) > 1e-4
