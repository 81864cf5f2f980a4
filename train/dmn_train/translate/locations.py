"""Places on a grid of features, drawn from a given generator; a place is row * width + column."""

import torch
from torch import Tensor


def draw_locations(likely: Tensor, count: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw places for each image: a share of them where `likely`, the others anywhere.

    They may repeat. Images without a likely place have all of them anywhere. The numbers drawn depend on the
    counts alone, not on what the images show, nor on the device.

    Args:
        likely: nhw bool.
        count: places an image.
        share: of the places, 0 to 1, rounded down.
        generator: on the CPU.

    Returns:
        n x count int64, on the device of `likely`; the likely ones first.
    """
    flat = likely.flatten(1)
    uniform = torch.rand(len(flat), count, generator=generator, dtype=torch.float64).to(flat.device)
    first = int(share * count)
    everywhere = torch.ones_like(flat)
    favoured = torch.where(flat.any(dim=1, keepdim=True), flat, everywhere)
    return torch.cat([_nth(favoured, uniform[:, :first]), _nth(everywhere, uniform[:, first:])], dim=1)


def _nth(allowed: Tensor, uniform: Tensor) -> Tensor:
    """Return the index of the allowed place with rank floor(uniform * number of allowed ones)."""
    upto = allowed.cumsum(dim=1)
    rank = (uniform * upto[:, -1:]).long()
    return torch.searchsorted(upto, rank, right=True)


def gather(feature: Tensor, places: Tensor) -> Tensor:
    """Return the vectors of `feature`, nchw, at `places`, n x p: n x p x c."""
    flat = feature.flatten(2)
    index = places[:, None, :].expand(-1, flat.shape[1], -1)
    return flat.gather(2, index).transpose(1, 2)
