"""Pairs of sections of the same place: how far apart they lie, and which section has another one.

Huang et al., Domain adaptive mitochondria segmentation via enforcing inter-section consistency (DA-ISC),
MICCAI 2022: so many slices apart in each domain that the distance in nm is the same.
"""

from dataclasses import replace
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from dmn_runtime.errors import RecipeError
from dmn_train.stacks import Stack, TargetStack


class OtherSections(NamedTuple):
    """The other section of each crop of a batch: the same place, changed alike, some slices up or down.

    Attributes:
        image: nchw float32, of the source.
        truth: n1hw float32, 1 foreground, 0 else.
        valid: n1hw float32, 1 labelled, 0 else.
        target: nchw float32, of the target.
    """

    image: Tensor
    truth: Tensor
    valid: Tensor
    target: Tensor


def gap_slices(gap_nm: float, slice_nm: float) -> int:
    """Return how many slices of a thickness come nearest to a distance, 1 at least."""
    return max(1, floor(gap_nm / slice_nm + 0.5))


def paired_source(stacks: tuple[Stack, ...], slice_nm: float, gap_nm: float) -> tuple[Stack, ...]:
    """Return labelled stacks whose crops are drawn on slices with a labelled partner alone.

    Args:
        stacks: all of one slice thickness; none give none.
        slice_nm: that thickness.
        gap_nm: wanted distance of the two sections of a pair.

    Raises:
        RecipeError: a stack has too few slices, or no foreground lies in a slice that has a labelled partner.
    """
    gap = gap_slices(gap_nm, slice_nm)
    paired = tuple(_with_partners(stack, gap, slice_nm, gap_nm) for stack in stacks)
    if paired and not any(len(stack.foreground) for stack in paired):
        raise RecipeError(
            f"method isc wants foreground in labelled slices that are {gap} apart, but {paired[0].name} has "
            f"none: use more labelled slices, or set method.isc.gap_nm (it is {gap_nm:g}) to another distance"
        )
    return paired


def paired_target(stack: TargetStack, slice_nm: float, gap_nm: float) -> TargetStack:
    """Return a target stack that pairs are drawn from; arguments and errors as for `paired_source`."""
    gap = gap_slices(gap_nm, slice_nm)
    _check_depth(stack.name, len(stack.grey), gap, slice_nm, gap_nm)
    return replace(stack, gap=gap)


def partnered(slices: NDArray[np.intp], gap: int) -> NDArray[np.intp]:
    """Return those of some slices that have another of them `gap` slices up or down."""
    return slices[np.isin(slices + gap, slices) | np.isin(slices - gap, slices)]


def draw_partner(rng: Generator, z: int, gap: int, slices: NDArray[np.intp]) -> int:
    """Draw the slice above or below `z`, where both are among `slices`; else return the one that is."""
    others = [other for other in (z - gap, z + gap) if other in slices]
    return others[int(rng.integers(len(others)))]


def _with_partners(stack: Stack, gap: int, slice_nm: float, gap_nm: float) -> Stack:
    _check_depth(stack.name, len(stack.grey), gap, slice_nm, gap_nm)
    slices = partnered(stack.slices, gap)
    in_slice = np.isin(stack.foreground // stack.mask[0].size, slices)
    return replace(stack, foreground=stack.foreground[in_slice], slices=slices, gap=gap)


def _check_depth(name: str, count: int, gap: int, slice_nm: float, gap_nm: float) -> None:
    if count <= gap:
        raise RecipeError(
            f"method isc wants slices that are {gap} apart ({gap * slice_nm:g} nm), but {name} has {count} "
            f"in a row: use more of them, or set method.isc.gap_nm (it is {gap_nm:g}) to less"
        )
