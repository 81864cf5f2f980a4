"""Image stacks on the working grid: what crops are drawn from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.normalise import IntensityMap
from dmn_runtime.resample import resample_slices
from dmn_runtime.volume.base import Voxels
from dmn_train.grey import check_slices
from dmn_train.labelled_slices import pick_slices
from dmn_train.mask import FOREGROUND, UNLABELLED, resampled_mask
from dmn_train.recipe import Recipe
from dmn_train.sections import SliceRange
from dmn_train.source import Raw


@dataclass(frozen=True)
class Stack:
    """A labelled stack on the working grid.

    Attributes:
        name: as the recipe has it.
        grey: uint8 or uint16 zyx.
        mask: uint8 zyx: 0 background, 1 foreground, 255 unlabelled.
        table: float32 network input for each grey value.
        matched: the same after matching the histogram of each target volume; empty without one.
        foreground: flat indices into `mask` of the foreground.
        slices: z of every slice with labels; where pairs are drawn, of those that have a partner.
        gap: slices between the two sections of a pair; 0 where no pairs are drawn.
    """

    name: str
    grey: Voxels
    mask: NDArray[np.uint8]
    table: NDArray[np.float32]
    matched: tuple[NDArray[np.float32], ...]
    foreground: NDArray[np.intp]
    slices: NDArray[np.intp]
    gap: int = 0


@dataclass(frozen=True)
class TargetStack:
    """An unlabelled stack of the target domain on the working grid. It has no place for labels.

    Attributes:
        name: as the recipe has it.
        grey: uint8 or uint16 zyx.
        table: float32 network input for each grey value.
        gap: slices between the two sections of a pair; 0 where no pairs are drawn.
    """

    name: str
    grey: Voxels
    table: NDArray[np.float32]
    gap: int = 0


def make_stack(
    raw: Raw, intensity: IntensityMap, matched: tuple[NDArray[np.float32], ...], working_nm: float | None
) -> Stack:
    """Put a raw labelled volume on the working grid; `matched` is as in `Stack`."""
    grey = resample_slices(raw.image.voxels, raw.image.voxel_nm, working_nm)
    mask = resampled_mask(raw.mask, raw.image.voxel_nm, working_nm)
    table = intensity.table(raw.image.voxels.dtype)
    return Stack(raw.image.name, grey, mask, table, matched, *_indices(mask))


def split_stack(stack: Stack, train: bool, recipe: Recipe) -> tuple[list[Stack], list[Stack]]:
    """Cut a stack into what is trained on and what is held out; no slice is in both.

    Raises:
        RecipeError: a range of slices leaves the volume.
    """
    if not train:
        return [], [stack]
    count = len(stack.grey)
    used = check_slices(recipe.data.source.slices or (0, count), stack.name, count, "data.source.slices")
    if recipe.validate_ is None or recipe.validate_.slices is None:
        return [_cut(_limited(stack, (used,), recipe), *used)], []
    first, stop = check_slices(recipe.validate_.slices, stack.name, count, "validate.slices")
    around = ((used[0], min(first, used[1])), (max(stop, used[0]), used[1]))
    limited = _limited(stack, around, recipe)
    return [_cut(limited, a, b) for a, b in around if a < b], [_cut(stack, first, stop)]


def _limited(stack: Stack, ranges: tuple[SliceRange, ...], recipe: Recipe) -> Stack:
    """Take away the labels of all slices but those that `data.source.fraction` leaves; the images stay."""
    source = recipe.data.source
    candidates = [z for a, b in ranges for z in range(a, b) if z in set(stack.slices.tolist())]
    if source.fraction == 1.0 or not candidates:
        return stack
    foreground = [int((stack.mask[z] == FOREGROUND).sum()) for z in candidates]
    kept = [candidates[i] for i in pick_slices(foreground, source.fraction, source.pick, recipe.loop.seed)]
    mask = np.full_like(stack.mask, UNLABELLED)
    mask[kept] = stack.mask[kept]
    return _with_labels(stack, mask)


def _cut(stack: Stack, first: int, stop: int) -> Stack:
    return _with_labels(replace(stack, grey=stack.grey[first:stop]), stack.mask[first:stop])


def _with_labels(stack: Stack, mask: NDArray[np.uint8]) -> Stack:
    """Return the stack with another mask and the indices that follow from it."""
    foreground, slices = _indices(mask)
    return replace(stack, mask=mask, foreground=foreground, slices=slices)


def _indices(mask: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the flat indices of the foreground and z of every slice with labels."""
    return np.flatnonzero(mask == FOREGROUND), np.flatnonzero((mask != UNLABELLED).any(axis=(1, 2)))
