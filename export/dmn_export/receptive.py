"""Stride and halo, measured from the network itself instead of taken from its description.

Only the structure counts, not the weights at hand (a dead ReLU would hide a path that other weights use), so
both are measured on a copy in float64 whose weights are replaced.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dmn_runtime.errors import CertificateError
from dmn_runtime.geometry import round_up

MAX_STRIDE_PX = 64
LENGTHS_PX = (256, 512, 1024, 2048, 4096)
"""Fields tried one after another, until the network's reach fits in."""


@dataclass(frozen=True)
class Reach:
    """How a network may be cut into tiles.

    `stride_px`: tile origins must be multiples of it; `halo_px`: pixels around a core on which it depends, a
    multiple of the stride; `radius_px`: the same before rounding up.
    """

    stride_px: int
    halo_px: int
    radius_px: int


def measure_reach(network: nn.Module, in_channels: int) -> Reach:
    """Measure stride and halo of a network from nchw to nchw of the same height and width.

    Raises:
        CertificateError: the network is not shift-equivariant by any power of two up to 64, or one pixel
            reaches further than the largest field tried (a normalisation over the image, for example).
    """
    stride_px = measure_stride(network, in_channels)
    radius_px = measure_radius(network, in_channels, stride_px)
    return Reach(stride_px, round_up(radius_px, stride_px), radius_px)


def measure_stride(network: nn.Module, in_channels: int) -> int:
    """Return the smallest power of two by which a shifted input gives exactly the shifted output.

    Asked of random weights on a random image, along y and along x, in the middle of a field whose borders are
    too far away to be felt. Equal means to 1e-9 of the output's spread.

    Raises:
        CertificateError: no power of two up to 64 will do.
    """
    probe = _with_random_weights(network)
    for length in LENGTHS_PX:
        strides = [_stride_along(axis, probe, in_channels, length) for axis in (2, 3)]
        if None not in strides:
            return max(stride for stride in strides if stride is not None)
    raise CertificateError(
        f"the network is not shift-equivariant by any power of two up to {MAX_STRIDE_PX} px, so it cannot be "
        "cut into tiles: use BatchNorm instead of a normalisation over the image, and no position code"
    )


def measure_radius(network: nn.Module, in_channels: int, stride_px: int) -> int:
    """Return how far from itself, along y or x, a pixel of the input can change the output, in px.

    In a copy with positive weights, no bias and BatchNorm made the identity, nothing cancels: on a black
    image one bright line lights exactly the pixels that its paths reach, through ReLU and max-pool too, as
    both are monotone. The line is set at every phase of the stride, on which the reach depends wherever the
    network samples down.

    Raises:
        CertificateError: the light reaches the border of the largest field.
    """
    probe = _with_positive_weights(network)
    for length in LENGTHS_PX:
        radii = [_radius_along(axis, probe, in_channels, length, stride_px) for axis in (2, 3)]
        if None not in radii:
            return max(radius for radius in radii if radius is not None)
    raise CertificateError(
        f"one pixel changes the network's output more than {LENGTHS_PX[-1] // 2} px away, so it cannot be "
        "cut into tiles: use BatchNorm instead of a normalisation over the image, and no attention "
        "over all of it"
    )


def _stride_along(axis: int, probe: nn.Module, in_channels: int, length: int) -> int | None:
    generator = torch.Generator().manual_seed(0)
    shape = _field(axis, in_channels, length + MAX_STRIDE_PX, MAX_STRIDE_PX)
    image = torch.randn(shape, generator=generator, dtype=torch.float64)
    still = probe(image.narrow(axis, 0, length))
    middle = length // 2
    for shift in _powers_of_two(MAX_STRIDE_PX):
        moved = probe(image.narrow(axis, shift, length))
        expected = still.narrow(axis, middle, MAX_STRIDE_PX)
        found = moved.narrow(axis, middle - shift, MAX_STRIDE_PX)
        if float((found - expected).abs().max()) <= 1e-9 * float(still.std()):
            return shift
    return None


def _radius_along(axis: int, probe: nn.Module, in_channels: int, length: int, stride_px: int) -> int | None:
    """Light one line a sample, each at another phase; None if light reaches a border."""
    image = torch.zeros(_field(axis, in_channels, length, 2 * stride_px), dtype=torch.float64)
    dark = probe(image)
    lines = [length // 2 + phase for phase in range(stride_px)]
    images = image.repeat(stride_px, 1, 1, 1)
    for sample, line in zip(images, lines, strict=True):
        sample.narrow(axis - 1, line, 1).fill_(1.0)
    along = (probe(images) != dark).transpose(axis, 3).flatten(1, 2).any(dim=1)
    reached: list[list[int]] = [torch.nonzero(row).flatten().tolist() for row in along]
    assert all(reached), "the network ignores its input"
    if any(lit[0] == 0 or lit[-1] == length - 1 for lit in reached):
        return None
    return max(max(line - lit[0], lit[-1] - line) for line, lit in zip(lines, reached, strict=True))


def _field(axis: int, in_channels: int, length: int, width: int) -> tuple[int, int, int, int]:
    return (1, in_channels, length, width) if axis == 2 else (1, in_channels, width, length)


def _powers_of_two(most: int) -> Iterator[int]:
    power = 1
    while power <= most:
        yield power
        power *= 2


def _with_random_weights(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)

    def draw(weight: Tensor) -> Tensor:
        scale = (2.0 / max(1, weight[0].numel())) ** 0.5
        drawn: Tensor = torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * scale
        return drawn

    return _reweighted(network, draw)


def _with_positive_weights(network: nn.Module) -> nn.Module:
    return _reweighted(network, lambda weight: torch.full_like(weight, 1.0 / max(1, weight[0].numel())))


def _reweighted(network: nn.Module, fill: Callable[[Tensor], Tensor]) -> nn.Module:
    """Copy a network in float64 and eval mode with new kernels, no bias, and BatchNorm made the identity."""
    copy = deepcopy(network).double().eval().requires_grad_(False)
    for name, parameter in copy.named_parameters():
        if parameter.dim() > 1:
            parameter.copy_(fill(parameter))
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    for module in copy.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return copy
