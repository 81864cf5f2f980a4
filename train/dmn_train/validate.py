"""How a network does on held-out slices, and pictures of it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from dmn_runtime.geometry import round_up
from dmn_train.data import cut_window
from dmn_train.files import translate_write_errors, write_whole
from dmn_train.mask import FOREGROUND, UNLABELLED
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.stacks import Stack, TargetStack

THRESHOLD = 0.5
MARGIN_PX = 64  # reflected border that keeps the zero padding of the convolutions away from the slice
TRUTH_COLOUR = (0, 220, 120)
PREDICTION_COLOUR = (255, 60, 160)


@torch.no_grad()
def predict_slice(
    network: nn.Module, spec: NetworkSpec, stack: Stack | TargetStack, z: int
) -> NDArray[np.float32]:
    """Return the probability of foreground of slice `z` of a stack, float32 yx."""
    _, height, width = stack.grey.shape
    tall, wide = (round_up(edge + 2 * MARGIN_PX, spec.stride_px) for edge in (height, width))
    window = cut_window(stack.grey, (z, height // 2, width // 2), spec.context_slices, tall, wide)
    image = torch.from_numpy(stack.table[window])[None]
    device = next(network.parameters()).device
    probability = network(image.to(device)).float().sigmoid()[0, 0].cpu().numpy()
    top, left = tall // 2 - height // 2, wide // 2 - width // 2
    inside: NDArray[np.float32] = probability[top : top + height, left : left + width]
    return inside


def validation_iou(network: nn.Module, spec: NetworkSpec, stacks: Sequence[Stack], threshold: float) -> float:
    """Return the foreground IoU over all labelled pixels of `stacks`, on the working grid.

    The network is left in eval mode.
    """
    network.eval()
    overlap = union = 0
    for stack in stacks:
        for z in range(len(stack.grey)):
            mask = stack.mask[z]
            found = (predict_slice(network, spec, stack, z) >= threshold) & (mask != UNLABELLED)
            truth = mask == FOREGROUND
            overlap += int((found & truth).sum())
            union += int((found | truth).sum())
    return overlap / union if union else 1.0


def write_overlays(
    folder: Path, network: nn.Module, spec: NetworkSpec, stacks: Sequence[Stack], threshold: float, count: int
) -> None:
    """Write `count` slices as PNG with the outlines of truth (green) and prediction (magenta).

    Raises:
        OutputError: the disk is full, or the system forbids writing otherwise.
    """
    with translate_write_errors(folder):
        folder.mkdir(exist_ok=True)
    for name, rgb in draw_overlays(network, spec, stacks, threshold, count):
        write_whole(folder / f"{name}.png", partial(Image.fromarray(rgb).save, format="PNG"))


def draw_overlays(
    network: nn.Module, spec: NetworkSpec, stacks: Sequence[Stack], threshold: float, count: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the names and pictures, uint8 yxc, that `write_overlays` writes."""
    network.eval()
    for index in range(count):
        stack = stacks[index * len(stacks) // count]
        z = (2 * index + 1) * len(stack.grey) // (2 * count) if len(stacks) == 1 else len(stack.grey) // 2
        found = predict_slice(network, spec, stack, z) >= threshold
        yield f"{index}-{Path(stack.name).stem.replace(' ', '-')}-z{z:04d}", _picture(stack, z, found)


def _picture(stack: Stack, z: int, found: NDArray[np.bool_]) -> NDArray[np.uint8]:
    grey = np.clip((stack.table[stack.grey[z]] + 1.0) * 127.5, 0, 255).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[outline(stack.mask[z] == FOREGROUND)] = TRUTH_COLOUR
    rgb[outline(found)] = PREDICTION_COLOUR
    return rgb


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of `mask`, yx, that have a neighbour outside of it, 4-connected."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask & ~inner
    return edge
