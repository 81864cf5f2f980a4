"""Where an image holds foreground, its outline, or neither: what each place counts in the contrast."""

from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.boundary import boundary_weights

BAND_PX = 3.0
ON_BAND, INSIDE, ELSEWHERE = 1.0, 0.7, 0.3
LIKELY = 0.5
"""More than this is the weight of the band and of the inside alone."""


@dataclass(frozen=True)
class Regions:
    """The places of a batch of images.

    Attributes:
        band: n1hw bool, pixels at most 3 px from the outline of the foreground.
        weight: n1hw float32, 1 on the band, 0.7 in the foreground beside it, 0.3 elsewhere.
    """

    band: Tensor
    weight: Tensor


def find_regions(foreground: Tensor, valid: Tensor | None = None) -> Regions:
    """Return the regions of labels, or of probabilities, which count as foreground from 1/2 on.

    Args:
        foreground: n1hw float32, 0 to 1.
        valid: n1hw float32, 1 labelled, 0 else; None: all is labelled. Unlabelled pixels are no foreground.
    """
    foreground = (foreground >= 0.5).float()
    if valid is not None:
        foreground = foreground * (valid > 0).float()
    band = outline_band(foreground, valid)
    weight = torch.where(foreground > 0, INSIDE, ELSEWHERE).masked_fill(band, ON_BAND)
    return Regions(band, weight)


def outline_band(foreground: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the pixels at most 3 px from the outline, as `boundary_weights` has it: n1hw bool."""
    sigma_px = BAND_PX / 3.0
    rise = boundary_weights(foreground, 1.0, sigma_px, valid) - 1.0
    # Squared distances are whole numbers: between that of the band's rim and the next one.
    return rise > exp(-(BAND_PX**2 + 0.5) / (2.0 * sigma_px**2))


def on_grid(weight: Tensor, height: int, width: int) -> Tensor:
    """Return a weight, n1hw, for each cell of a coarser grid: the largest of its pixels, nhw float32."""
    return functional.adaptive_max_pool2d(weight, (height, width))[:, 0]
