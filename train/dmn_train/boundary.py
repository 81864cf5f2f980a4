"""Weights of pixels that rise towards the outline of the foreground."""

from math import ceil

import torch
from torch import Tensor

REACH_SIGMAS = 6.0  # exp(-6^2 / 2) is less than the last bit of 1 in float32


def boundary_weights(truth: Tensor, weight: float, sigma_px: float, valid: Tensor | None = None) -> Tensor:
    """Return 1 + weight * exp(-d^2 / (2 sigma^2)), d being the distance of a pixel to the outline.

    After Ronneberger et al., U-Net, MICCAI 2015, equation 2, which adds up the distances to the two nearest
    cells to part cells that touch; masks of one class know no cells, so the outline itself is lifted.
    The outline is the pixels of either class that have a 4-connected neighbour of the other; the border of
    the crop is none, nor is the border between labelled and unlabelled pixels.

    Args:
        truth: n1hw float32, 1 foreground, 0 else.
        weight: of an outline pixel, less 1.
        sigma_px: standard deviation of the rise, > 0.
        valid: n1hw float32, 1 labelled, 0 else; None: all is labelled.

    Returns:
        n1hw float32 on the device of `truth`; all 1 for a crop without an outline.
    """
    outline = _outline(truth > 0.5, torch.ones_like(truth, dtype=torch.bool) if valid is None else valid > 0)
    squared = squared_distance(outline, reach_px=ceil(REACH_SIGMAS * sigma_px))
    return 1.0 + weight * torch.exp(squared / (-2.0 * sigma_px**2))


def _outline(foreground: Tensor, valid: Tensor) -> Tensor:
    """Return the labelled pixels that have a labelled 4-neighbour of the other class; bool n1hw."""
    outline = torch.zeros_like(foreground)
    for axis in (2, 3):
        pairs = foreground.shape[axis] - 1
        first, second = (
            (foreground.narrow(axis, start, pairs), valid.narrow(axis, start, pairs)) for start in (0, 1)
        )
        change = (first[0] != second[0]) & first[1] & second[1]
        for start in (0, 1):
            outline.narrow(axis, start, pairs).logical_or_(change)
    return outline


def squared_distance(marked: Tensor, reach_px: int) -> Tensor:
    """Return the squared distance to the nearest marked pixel, px^2, float32 n1hw; infinite without one.

    First along each row, then d^2(y) = min over k of row^2(y + k) + k^2 (Felzenszwalb and Huttenlocher,
    Distance transforms of sampled functions, 2012, equation 2) by shifts of whole images, which a GPU likes
    better than their lower envelope. Exact where it is reach_px^2 at most, at least that elsewhere.
    """
    squared = _along_rows(marked).square()
    nearest = squared.clone()
    height = marked.shape[2]
    for shift in range(1, min(reach_px, height - 1) + 1):
        further, left = squared + float(shift**2), height - shift
        for start in (0, shift):
            here = nearest.narrow(2, start, left)
            torch.minimum(here, further.narrow(2, shift - start, left), out=here)
    return nearest


def _along_rows(marked: Tensor) -> Tensor:
    """Return the distance to the nearest marked pixel of the same row, px, float32 n1hw."""
    columns = torch.arange(marked.shape[3], dtype=torch.float32, device=marked.device)
    infinite = torch.tensor(torch.inf, device=marked.device)
    before = torch.where(marked, columns, -infinite).cummax(3).values
    after = torch.where(marked, columns, infinite).flip(3).cummin(3).values.flip(3)
    return torch.minimum(columns - before, after - columns)
