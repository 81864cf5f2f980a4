"""Batches of crops, each a pure function of (seed, step): a resumed run needs no generator's state."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from dmn_runtime.geometry import Triple
from dmn_runtime.plan import reflect
from dmn_train.augment import Warp, change_intensity, draw_warp, window_px
from dmn_train.mask import FOREGROUND, UNLABELLED
from dmn_train.material import Material
from dmn_train.pairs import OtherSections, draw_partner, partnered
from dmn_train.recipe import Recipe
from dmn_train.stacks import Stack, TargetStack
from dmn_train.views import TargetViews, draw_views

ANCHOR_REACH = 0.25  # how far, in crops, an anchored crop's centre lies from its foreground voxel at most
TARGET_STREAM = 1  # the target's crops have random numbers of their own
VIEWS_STREAM = 2  # and so has what their masked view hides: no crop changes with it
PLAIN_STREAM = 3  # and which target's histogram the source's plain crops are matched to
PAIR_STREAM = 4  # and which of two neighbours is the other section of a pair, and its noise
OVERHANG = 0.125  # how far, in crops, an anchored crop may reach over the volume's edge (reflected there)


class Batch(NamedTuple):
    """Crops of the labelled source and, for methods that adapt, of the unlabelled target.

    A named tuple, because Fabric looks into what goes through a module and refuses frozen dataclasses.

    Attributes:
        image: nchw float32, normalised, c = in_channels.
        truth: n1hw float32, 1 foreground, 0 else.
        valid: n1hw float32, 1 labelled, 0 else.
        target: nchw float32, normalised crops of the target; None for a method that wants none. Those of
            self-training are its strong view.
        views: the target's other views; None for a method that wants none.
        plain: nchw float32, the crops of `image` with no intensity changed, but maybe matched to a target's
            histogram; None for a method that wants none.
        others: the other section of every crop; None for a method that wants no pairs.
    """

    image: Tensor
    truth: Tensor
    valid: Tensor
    target: Tensor | None
    views: TargetViews | None = None
    plain: Tensor | None = None
    others: OtherSections | None = None


class _Labelled(NamedTuple):
    """Crops of the source: image, nchw, truth and valid, n1hw, as in `Batch`."""

    image: Tensor
    truth: Tensor
    valid: Tensor


def draw_batch(material: Material, recipe: Recipe, step: int, rank: int = 0) -> Batch:
    """Draw the batch of `step` for the device of number `rank`.

    The source's crops do not depend on whether there is a target, nor the target's on whether there are other
    views of them: methods are compared on the same crops.
    """
    seeds = [recipe.loop.seed, step, rank] if rank else [recipe.loop.seed, step]
    beside, pairing = (
        np.random.default_rng([recipe.loop.seed, step, rank, stream])
        for stream in (PLAIN_STREAM, PAIR_STREAM)
    )
    source, plain, other = _draw_source(material, recipe, np.random.default_rng(seeds), beside, pairing)
    if recipe.method.name == "source_only":
        return Batch(*source, None)
    rng = np.random.default_rng([recipe.loop.seed, step, rank, TARGET_STREAM])
    target, of_target, other_target = _draw_target(material.target, recipe, rng, pairing)
    if other is not None and other_target is not None:
        return Batch(*source, target, others=OtherSections(*other, other_target))
    if recipe.method.views is None:
        return Batch(*source, target)
    rng = np.random.default_rng([recipe.loop.seed, step, rank, VIEWS_STREAM])
    views = draw_views(rng, recipe.method.views, of_target, source.truth)
    return Batch(*source, target, views, plain)


def _draw_target(
    stacks: tuple[TargetStack, ...], recipe: Recipe, rng: Generator, pairing: Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Draw as many crops of the target as of the source, all over its volumes alike.

    Returns:
        The crops with changed and with unchanged intensities, nchw, and the changed ones of the other
        sections, where the recipe wants pairs. What is random in those alone comes from `pairing`.
    """
    loop, augment, context = recipe.loop, recipe.augment, recipe.network.spec.context_slices
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    edge = window_px(augment, loop.crop_px)
    sizes = np.array([stack.grey.size for stack in stacks], np.float64)
    windows, others = [], []
    for _ in range(loop.batch):
        stack = stacks[int(rng.choice(len(stacks), p=sizes / sizes.sum()))]
        z, y, x = stack.grey.shape
        slices = partnered(np.arange(z), stack.gap)
        centre = (
            int(slices[rng.integers(len(slices))]),
            _draw_inside(rng, y, loop.crop_px),
            _draw_inside(rng, x, loop.crop_px),
        )
        windows.append(stack.table[cut_window(stack.grey, centre, context, edge, edge)])
        if stack.gap:
            place = _partner_of(centre, pairing, stack.gap, slices)
            others.append(stack.table[cut_window(stack.grey, place, context, edge, edge)])
    warp = draw_warp(rng, augment, loop.batch, loop.crop_px, edge)
    image = warp.image(_stacked(windows))
    strength = augment.strength if augment.target_strength is None else augment.target_strength
    change = _Change(rng, generator, strength, recipe.normalisation.clip)
    other = change.alike(warp.image(_stacked(others)), pairing) if others else None
    return change.of(image), image, other


def _draw_source(
    material: Material, recipe: Recipe, rng: Generator, beside: Generator, pairing: Generator
) -> tuple[_Labelled, Tensor | None, _Labelled | None]:
    """Draw the crops, the plain ones and the other sections; the latter two where the recipe wants them.

    `loop.foreground_share` of the crops lie around a foreground voxel. The last crops are those of the
    made-up volumes, `loop.extra_share` of all. What is random in plain alone comes from `beside`, what is in
    the other sections alone from `pairing`.
    """
    loop, augment = recipe.loop, recipe.augment
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    context = recipe.network.spec.context_slices
    edge = window_px(augment, loop.crop_px)
    made_up = int(np.ceil(loop.extra_share * loop.batch))
    groups = [(material.train, loop.batch - made_up), (material.extra, made_up)]
    wanted = [
        (stacks, index < int(np.ceil(loop.foreground_share * count)))
        for stacks, count in groups
        for index in range(count)
    ]
    windows, labels, plain = [], [], []
    other_windows, other_labels = [], []
    for stacks, anchored in wanted:
        stack, centre = _draw_centre(stacks, rng, loop.crop_px, anchored=anchored)
        window = cut_window(stack.grey, centre, context, edge, edge)
        table = _draw_table(stack, rng, recipe.method.histogram_matching)
        windows.append(table[window])
        labels.append(cut_window(stack.mask, centre, 0, edge, edge))
        if recipe.method.plain_source == "own":
            plain.append(stack.table[window])
        elif recipe.method.plain_source == "matched":
            plain.append(stack.matched[int(beside.integers(len(stack.matched)))][window])
        if stack.gap:
            place = _partner_of(centre, pairing, stack.gap, stack.slices)
            other_windows.append(table[cut_window(stack.grey, place, context, edge, edge)])
            other_labels.append(cut_window(stack.mask, place, 0, edge, edge))
    warp = draw_warp(rng, augment, loop.batch, loop.crop_px, edge)
    change = _Change(rng, generator, augment.strength, recipe.normalisation.clip)
    other = None
    if other_windows:
        other_image = change.alike(warp.image(_stacked(other_windows)), pairing)
        other = _labelled(other_image, warp, other_labels)
    source = _labelled(change.of(warp.image(_stacked(windows))), warp, labels)
    return source, warp.image(_stacked(plain)) if plain else None, other


@dataclass(frozen=True)
class _Change:
    """A change of intensity that is about to be drawn; arguments as for `change_intensity`."""

    rng: Generator
    generator: torch.Generator
    strength: float
    clip: float

    def of(self, image: Tensor) -> Tensor:
        """Draw it and return changed crops, nchw."""
        return change_intensity(image, self.rng, self.generator, self.strength, self.clip)

    def alike(self, image: Tensor, pairing: Generator) -> Tensor:
        """Return other crops, nchw, as the change will be that is drawn next, but with noise of their own.

        Contrast, sharpness, light and damage of two sections are those of one crop. The same noise in both
        would cancel in their difference, which no microscope's does.
        """
        noise = torch.Generator().manual_seed(int(pairing.integers(2**63)))
        return change_intensity(image, deepcopy(self.rng), noise, self.strength, self.clip)


def _stacked(windows: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(windows))


def _labelled(image: Tensor, warp: Warp, labels: list[NDArray[np.uint8]]) -> _Labelled:
    """Return crops with their labels, cut out of label windows."""
    mask = warp.labels(torch.from_numpy(np.stack(labels).astype(np.float32)))
    return _Labelled(image, (mask == FOREGROUND).float(), (mask != UNLABELLED).float())


def _partner_of(centre: Triple, pairing: Generator, gap: int, slices: NDArray[np.intp]) -> Triple:
    """Return the same place, zyx, in a slice `gap` up or down."""
    z, y, x = centre
    return draw_partner(pairing, z, gap, slices), y, x


def cut_window(
    voxels: NDArray[Any], centre: Triple, context: int, height_px: int, width_px: int
) -> NDArray[Any]:
    """Return the window around `centre`, reflected where it reaches outside: chw, c = 2 context + 1.

    The window starts half its edge (rounded down) before the centre.
    """
    z, y, x = (
        reflect(middle - before, middle - before + length, n)
        for middle, before, length, n in zip(
            centre,
            (context, height_px // 2, width_px // 2),
            (2 * context + 1, height_px, width_px),
            voxels.shape,
            strict=True,
        )
    )
    return np.take(np.take(voxels[z], y, axis=1), x, axis=2)


def _draw_centre(
    stacks: tuple[Stack, ...], rng: Generator, crop_px: int, *, anchored: bool
) -> tuple[Stack, Triple]:
    """Draw a stack and the centre of a crop: anywhere, or within reach of a foreground voxel."""
    sizes = [len(s.foreground) if anchored else len(s.slices) * s.mask[0].size for s in stacks]
    weights = np.array(sizes, np.float64)
    stack = stacks[int(rng.choice(len(stacks), p=weights / weights.sum()))]
    if not anchored:
        _, y, x = stack.mask.shape
        centre_y, centre_x = _draw_inside(rng, y, crop_px), _draw_inside(rng, x, crop_px)
        return stack, (int(stack.slices[rng.integers(len(stack.slices))]), centre_y, centre_x)
    flat = stack.foreground[int(rng.integers(len(stack.foreground)))]
    z, y, x = (int(i) for i in np.unravel_index(flat, stack.mask.shape))
    reach = int(crop_px * ANCHOR_REACH)
    dy, dx = (int(d) for d in rng.integers(-reach, reach + 1, 2))
    _, height, width = stack.mask.shape
    return stack, (z, _pulled_in(y + dy, height, crop_px), _pulled_in(x + dx, width, crop_px))


def _pulled_in(centre: int, extent: int, crop_px: int) -> int:
    """Move a centre so that its crop reaches over the edge by `OVERHANG` at most, where it fits at all."""
    margin = crop_px // 2 - int(OVERHANG * crop_px)
    return extent // 2 if extent <= 2 * margin else min(max(centre, margin), extent - margin)


def _draw_inside(rng: Generator, extent: int, crop_px: int) -> int:
    """Draw a centre such that the crop lies inside, where it fits at all."""
    if extent <= crop_px:
        return extent // 2
    return crop_px // 2 + int(rng.integers(extent - crop_px + 1))


def _draw_table(stack: Stack, rng: Generator, share: float) -> NDArray[np.float32]:
    """Return the stack's table or, with probability `share`, a blend of it with a matched one.

    Which of several matched ones is drawn aside: all other draws are the same with any number of them.
    """
    chosen, blend = rng.random() < share, np.float32(rng.random())
    if not stack.matched or not chosen:
        return stack.table
    matched = stack.matched[int(rng.spawn(1)[0].integers(len(stack.matched)))]
    return stack.table + blend * (matched - stack.table)
