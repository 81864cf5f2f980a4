"""Plain tiles of the target: its intensities as they are, no turn, no zoom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from dmn_runtime.geometry import round_up
from dmn_train.data import cut_window
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.stacks import TargetStack
from dmn_train.validate import MARGIN_PX

CORE_PX = 256
MOST_STRIDE_PX = 64  # of a network of six levels


@dataclass(frozen=True)
class TargetTiles:
    """Tiles of the target and the part of each that counts.

    Attributes:
        images: nchw float32, normalised, reflected where they reach over the volume's edge.
        core_px: height and width of the middle, which lies inside the volume where that is large enough.
    """

    images: Tensor
    core_px: int

    def core(self, maps: Tensor) -> Tensor:
        """Return the middle of maps of all tiles, n1hw."""
        edge = maps.shape[-1]
        first = edge // 2 - self.core_px // 2
        return maps[..., first : first + self.core_px, first : first + self.core_px]


def draw_crops(
    stacks: Sequence[TargetStack], context: int, edge_px: int, count: int, rng: Generator
) -> Tensor:
    """Return `count` plain crops, nchw float32, drawn all over the target's volumes alike."""
    return torch.from_numpy(_windows(stacks, context, (edge_px, edge_px), count, rng))


def draw_tiles(stacks: Sequence[TargetStack], spec: NetworkSpec, count: int, rng: Generator) -> TargetTiles:
    """Return `count` tiles with a margin that keeps the zero padding of the convolutions from the core."""
    core_px = min(CORE_PX, *(min(stack.grey.shape[1:]) for stack in stacks))
    edge_px = round_up(core_px + 2 * MARGIN_PX, MOST_STRIDE_PX)
    windows = _windows(stacks, spec.context_slices, (core_px, edge_px), count, rng)
    return TargetTiles(torch.from_numpy(windows), core_px)


def _windows(
    stacks: Sequence[TargetStack], context: int, edges_px: tuple[int, int], count: int, rng: Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Cut windows whose middle, `edges_px[0]` wide, lies inside; they are `edges_px[1]` wide."""
    inner, edge = edges_px
    sizes = np.array([stack.grey.size for stack in stacks], np.float64)
    found = []
    for _ in range(count):
        stack = stacks[int(rng.choice(len(stacks), p=sizes / sizes.sum()))]
        z, y, x = stack.grey.shape
        centre = (int(rng.integers(z)), _inside(rng, y, inner), _inside(rng, x, inner))
        found.append(stack.table[cut_window(stack.grey, centre, context, edge, edge)])
    return np.stack(found)


def _inside(rng: Generator, extent: int, inner: int) -> int:
    """Draw a centre such that the middle lies inside, where it fits at all."""
    return extent // 2 if extent <= inner else inner // 2 + int(rng.integers(extent - inner + 1))
