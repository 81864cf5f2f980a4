"""The translator: a ResNet from an image to what is to be added to it.

The shape is CUT's (Park et al., ECCV 2020, after Johnson et al., ECCV 2016): 7x7 stem, two halvings, residual
blocks at a quarter of the resolution, two doublings, 7x7 head; instance norm, low-passed halvings and
doublings (Zhang, Making convolutional networks shift-invariant again, ICML 2019). It departs from CUT in what
comes out:

xhat = x + R tanh(h(x) / R), with a head h that starts at almost 0. Source and target show the same kind of
tissue; what differs is how it was stained and imaged. Starting at the identity, the translation keeps every
structure from the first step on: labels fit xhat, the contrast is met and the gate is open before the
discriminator knows anything, and every change has to be earned against them. A generator that starts at noise
first destroys the image and is then free to put structures where it likes. R bounds what can be added, and is
so wide that it can turn the darkest value into the brightest.

The image and the stem's features skip all else and join what comes to the head: what is added to x must be
able to take away its finest grain, of which nothing is left at a quarter of the resolution. With them any
linear filter of x, and any curve of its values, is one layer away. CUT, which draws the image anew, does
without. The stem has no norm, so that the head knows how bright a pixel is, not only how bright beside the
rest of its crop.

It departs in the low-pass as well: in halving it is laid on before the convolution, which then works at half
the resolution for a quarter of the cost.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.translate.options import STRIDE_PX, GeneratorSpec

REACH = 4.0  # R; normalised values lie within -2 and 2
START_STD = 1e-3  # of the head's weights: the first translations are within some hundredths of the image
LOW_PASS = (0.125, 0.375, 0.375, 0.125)  # binomial, of even length: no shift against the doublings


@dataclass(frozen=True)
class Translated:
    """What the generator makes of images.

    Attributes:
        image: nchw float32, as they went in.
        features: of those images (not of the translated ones), one nchw tensor a stage asked for.
    """

    image: Tensor
    features: tuple[Tensor, ...]


@final
class Generator(nn.Module):
    """From nchw normalised intensities to the same in the other style; h and w are multiples of 4.

    Stages, each with features: 0 the image itself, 1 the stem, 2 and 3 the halvings, then the blocks.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        base = spec.base
        self.encoder = nn.ModuleList(
            [
                _stem(spec.channels, base),
                nn.Sequential(HalfSize(), _convolution(base, 2 * base, 3)),
                nn.Sequential(HalfSize(), _convolution(2 * base, 4 * base, 3)),
                *(ResidualBlock(4 * base) for _ in range(spec.blocks)),
            ]
        )
        self.decoder = nn.Sequential(
            DoubleSize(),
            _convolution(4 * base, 2 * base, 3),
            DoubleSize(),
            _convolution(2 * base, base, 3),
        )
        self.head = nn.Conv2d(base + spec.channels, spec.channels, 7, padding=3, padding_mode="reflect")
        nn.init.normal_(self.head.weight, std=START_STD)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, stages: tuple[int, ...] = ()) -> Translated:
        """Translate `image`, nchw, and give its features at `stages`, which are made on the way."""
        assert not any(edge_px % STRIDE_PX for edge_px in image.shape[2:]), "multiples of 4 px"
        passed = self._encode(image, len(self.encoder))
        fine = torch.cat([self.decoder(passed[-1]) + passed[1], image], dim=1)
        change = self.head(fine).float()
        moved = image + REACH * torch.tanh(change / REACH)
        return Translated(moved, tuple(passed[stage] for stage in stages))

    def features(self, image: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return the features, nchw each, of `image` at `stages`; what lies deeper is not computed."""
        passed = self._encode(image, max(stages))
        return tuple(passed[stage] for stage in stages)

    def _encode(self, image: Tensor, stages: int) -> list[Tensor]:
        passed = [image]
        for stage in self.encoder[:stages]:
            passed.append(stage(passed[-1]))
        return passed


@final
class ResidualBlock(nn.Module):
    """x + f(x), f being two 3x3 convolutions with instance norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.norm = nn.InstanceNorm2d(channels)

    def forward(self, feature: Tensor) -> Tensor:
        """Return the block's output, nchw as `feature` is."""
        change: Tensor = self.norm(self.second(self.first(feature)))
        return feature + change


@final
class HalfSize(nn.Module):
    """Half the height and width, each value a binomial mean over 4 x 4 px around it."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor(LOW_PASS)
        self.register_buffer("kernel", (row[:, None] * row)[None, None], persistent=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Return nchw features of half the height and width."""
        # In float32 also where the rest is bfloat16, for which depthwise convolutions are slow on a CPU.
        with torch.autocast(feature.device.type, enabled=False):
            padded = functional.pad(feature.float(), (1, 1, 1, 1), mode="reflect")
            kernel = self.kernel.expand(feature.shape[1], 1, -1, -1)
            return functional.conv2d(padded, kernel, stride=2, groups=feature.shape[1])


@final
class DoubleSize(nn.Module):
    """Twice the height and width by linear interpolation: zeros in between, low-passed as in `HalfSize`."""

    def forward(self, feature: Tensor) -> Tensor:
        """Return nchw features of twice the height and width."""
        return functional.interpolate(feature, scale_factor=2.0, mode="bilinear", align_corners=False)


def _stem(channels: int, base: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, base, 7, padding=3, padding_mode="reflect"), nn.ReLU(inplace=True)
    )


def _convolution(before: int, after: int, edge_px: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, edge_px, padding=edge_px // 2, padding_mode="reflect", bias=False),
        nn.InstanceNorm2d(after),
        nn.ReLU(inplace=True),
    )
