"""The 2D U-Net that every student is (Ronneberger et al., MICCAI 2015, with two changes).

BatchNorm, because it folds into the convolutions and does not depend on the tile; nearest Resize x2 and a 3x3
convolution on the way up, because a transposed convolution hurts INT8 and leaves checkerboards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.networks.sizes import NetworkSpec


@dataclass(frozen=True)
class Features:
    """All that a forward pass makes, for methods that align or store features.

    Attributes:
        encoder: nchw, level 0 (full resolution) first; the last one is the bottleneck.
        decoder: nchw, level 0 (full resolution) first; one fewer than the encoder has.
        logits: n1hw; sigmoid gives the probability of foreground.
    """

    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]
    logits: Tensor


class UNet(nn.Module):
    """A U-Net from nchw normalised intensities to n1hw logits; h and w are multiples of `spec.stride_px`."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = [spec.base << level for level in range(spec.levels + 1)]
        self.down = nn.ModuleList(
            _double_conv(before, after)
            for before, after in zip([spec.in_channels, *widths], widths, strict=False)
        )
        self.lift = nn.ModuleList(
            nn.Conv2d(widths[level + 1], widths[level], 3, padding=1) for level in range(spec.levels)
        )
        self.up = nn.ModuleList(
            _double_conv(2 * widths[level], widths[level]) for level in range(spec.levels)
        )
        self.head = nn.Conv2d(spec.base, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits, n1hw, of `image`, nchw."""
        return self.forward_features(image).logits

    def forward_features(self, image: Tensor) -> Features:
        """Return the logits of `image`, nchw, and the features of every level."""
        encoder = [self.down[0](image)]
        for block in self.down[1:]:
            encoder.append(block(functional.max_pool2d(encoder[-1], 2)))
        decoder: list[Tensor] = []
        feature = encoder[-1]
        for level in reversed(range(self.spec.levels)):
            lifted = self.lift[level](functional.interpolate(feature, scale_factor=2.0, mode="nearest"))
            feature = self.up[level](torch.cat([encoder[level], lifted], dim=1))
            decoder.insert(0, feature)
        return Features(tuple(encoder), tuple(decoder), self.head(feature))


def _double_conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
