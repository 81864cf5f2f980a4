"""How steep an image is at each pixel."""

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SLOPE = 1e-3  # keeps the gradient of the root finite on flat ground; normalised values span about 2


def sobel_magnitude(image: Tensor) -> Tensor:
    """Return the length of the Sobel gradient of each channel, value per px, nchw float32 as `image`.

    Made of shifts rather than of a convolution, which autocast would round. The rim is repeated outwards.
    """
    padded = functional.pad(image.float(), (1, 1, 1, 1), mode="replicate")
    return (_slope(padded, 2, 3).square() + _slope(padded, 3, 2).square() + LEAST_SLOPE**2).sqrt()


def _slope(padded: Tensor, along: int, across: int) -> Tensor:
    """Return the central difference along one axis, weighted 1 2 1 across, over 8."""
    length, width = padded.shape[along] - 2, padded.shape[across] - 2
    difference = padded.narrow(along, 2, length) - padded.narrow(along, 0, length)
    before, here, after = (difference.narrow(across, start, width) for start in range(3))
    return (before + 2.0 * here + after) / 8.0


def relative_slopes(image: Tensor) -> Tensor:
    """Return `sobel_magnitude` over its mean over each image, nchw: a gain of the values hardly matters."""
    slopes = sobel_magnitude(image)
    return slopes / slopes.mean(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
