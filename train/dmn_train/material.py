"""All that a run trains on: source, held-out part and target, normalised and on the working grid."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import QUANTILE_PERCENTS, Domain, Normalisation
from dmn_runtime.errors import RecipeError, VolumeError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.normalise import IntensityMap, fit_map
from dmn_runtime.resample import resample_slices
from dmn_train.grey import Grey, read_part
from dmn_train.mask import UNLABELLED
from dmn_train.matching import matching_table
from dmn_train.pairs import paired_source, paired_target
from dmn_train.recipe import PlacedRecipe
from dmn_train.sections import IscSection, TargetSection
from dmn_train.source import Raw, load_extra, load_source
from dmn_train.stacks import Stack, TargetStack, make_stack, split_stack


@dataclass(frozen=True)
class Origin:
    """Where a stack came from, for run.json.

    Attributes:
        role: "source", "extra" or "target".
        name: the recipe's word for it.
        fingerprint: of the image's content.
        mask_fingerprint: of the mask's, None for an unlabelled volume.
        shape: raw voxels, zyx.
        voxel_nm: raw voxel size, zyx.
        map: the intensity map on the raw grid.
    """

    role: str
    name: str
    fingerprint: str
    mask_fingerprint: str | None
    shape: Triple
    voxel_nm: Spacing
    map: IntensityMap


@dataclass(frozen=True)
class Material:
    """All that a run trains on.

    Attributes:
        train: stacks that crops are drawn from.
        extra: made-up stacks that some of the source's crops are drawn from; may be empty.
        held_out: stacks for the validation curve; may be empty.
        target: unlabelled stacks of the target domain; may be empty.
        origins: one for each raw volume.
        domain: statistics for the drift alarm.
        voxel_nm: of the training domain's raw data, zyx.
    """

    train: tuple[Stack, ...]
    extra: tuple[Stack, ...]
    held_out: tuple[Stack, ...]
    target: tuple[TargetStack, ...]
    origins: tuple[Origin, ...]
    domain: Domain
    voxel_nm: Spacing


@dataclass(frozen=True)
class _Measured:
    image: Grey
    counts: NDArray[np.int64]
    map: IntensityMap


def load_material(placed: PlacedRecipe) -> Material:
    """Open, check, normalise and resample everything that a recipe names.

    Raises:
        VolumeError: a file cannot be read, or image and mask do not fit each other.
        RecipeError: the voxel size is neither in the recipe nor in the file, or a range is off.
    """
    recipe = placed.recipe
    rule = recipe.normalisation.rule
    raws, made_up = load_source(placed), load_extra(placed)
    sources, extra = ([_measured(raw.image, rule) for raw in of] for of in (raws, made_up))
    targets = [_measured(_target(placed, section), rule) for section in recipe.data.target]

    train: list[Stack] = []
    held_out: list[Stack] = []
    for raw, source in zip(raws, sources, strict=True):
        mine, kept = split_stack(_stack(raw, source, targets, recipe.working_voxel_nm), raw.train, recipe)
        train += mine
        held_out += kept
    if not any(len(stack.foreground) for stack in train):
        used = recipe.data.source
        words = "check mask and slices"
        if used.fraction < 1.0:
            words = (
                f'{used.fraction:g} of its labelled slices were picked: take more, or set pick to "balanced"'
            )
        raise VolumeError(f"{raws[0].image.name} has no foreground to train on: {words}")

    beside = tuple(
        _stack(raw, e, targets, recipe.working_voxel_nm) for raw, e in zip(made_up, extra, strict=True)
    )
    if made_up and not any(len(stack.foreground) for stack in beside):
        raise RecipeError("the volumes of data.extra hold no foreground: make them larger, or more of them")

    origins = [_origin("source", s, raw.mask_fingerprint) for s, raw in zip(sources, raws, strict=True)]
    origins += [_origin("extra", e, raw.mask_fingerprint) for e, raw in zip(extra, made_up, strict=True)]
    origins += [_origin("target", t, None) for t in targets]
    # What is made up beside a real source tells nothing of the microscopes that the network is meant for.
    quantiles = pooled_quantiles([(m.counts, m.map) for m in [*sources, *targets]], QUANTILE_PERCENTS)
    domain = Domain(quantiles, _foreground_share(train))
    material = Material(
        train=tuple(train),
        extra=beside,
        held_out=tuple(held_out),
        target=tuple(_target_stack(t, recipe.working_voxel_nm) for t in targets),
        origins=tuple(origins),
        domain=domain,
        voxel_nm=raws[0].image.voxel_nm,
    )
    return material if recipe.method.isc is None else _paired(material, recipe.method.isc)


def _stack(raw: Raw, measured: _Measured, targets: list[_Measured], working_nm: float | None) -> Stack:
    """Put a labelled volume on the working grid, with a table matched to each target."""
    matched = tuple(t.map.apply(matching_table(measured.counts, t.counts)) for t in targets)
    return make_stack(raw, measured.map, matched, working_nm)


def _paired(material: Material, section: IscSection) -> Material:
    """Return the material with pairs of sections to be drawn; measures of it are those without."""
    of_role: dict[str, list[float]] = {"source": [], "extra": [], "target": []}
    for origin in material.origins:
        of_role[origin.role].append(origin.voxel_nm[0])
    # Not less than the thickest slice, or the domains could not have the same distance.
    gap_nm = section.gap_nm or max(of_role["source"] + of_role["target"])
    return replace(
        material,
        train=paired_source(material.train, of_role["source"][0], gap_nm),
        extra=paired_source(material.extra, of_role["extra"][0], gap_nm) if material.extra else (),
        target=tuple(
            paired_target(stack, slice_nm, gap_nm)
            for stack, slice_nm in zip(material.target, of_role["target"], strict=True)
        ),
    )


def unaugmented(placed: PlacedRecipe, most: int) -> list[tuple[Stack | TargetStack, Origin]]:
    """Return a run's volumes on the working grid, held-out slices included, without what training adds.

    Args:
        placed: the recipe.
        most: how many stacks of the source at most; a made-up source may have hundreds.

    Raises:
        VolumeError, RecipeError: as `load_material`.
    """
    recipe = placed.recipe
    found: list[tuple[Stack | TargetStack, Origin]] = []
    for raw in load_source(placed, most):
        source = _measured(raw.image, recipe.normalisation.rule)
        stack = make_stack(raw, source.map, (), recipe.working_voxel_nm)
        found.append((stack, _origin("source", source, raw.mask_fingerprint)))
    for section in recipe.data.target:
        target = _measured(_target(placed, section), recipe.normalisation.rule)
        found.append((_target_stack(target, recipe.working_voxel_nm), _origin("target", target, None)))
    return found


def pooled_quantiles(
    volumes: Iterable[tuple[NDArray[np.int64], IntensityMap]], percents: tuple[float, ...]
) -> tuple[float, ...]:
    """Return quantiles of the unclipped normalised intensity of several volumes, each of the same weight."""
    values, weights = [], []
    for counts, intensity in volumes:
        unclipped = IntensityMap(intensity.low, intensity.high, np.inf)
        values.append(unclipped.apply(np.arange(len(counts))).astype(np.float64))
        weights.append(counts / counts.sum())
    value, weight = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(value, kind="stable")
    cumulated = np.cumsum(weight[order])
    positions = np.searchsorted(cumulated, np.array(percents) / 100.0 * cumulated[-1] - 1e-12)
    return tuple(float(v) for v in value[order][positions])


def _measured(image: Grey, rule: Normalisation) -> _Measured:
    counts = image.counts()
    return _Measured(image, counts, fit_map(counts, rule, image.name))


def _origin(role: str, measured: _Measured, mask_fingerprint: str | None) -> Origin:
    image = measured.image
    return Origin(
        role, image.name, image.fingerprint, mask_fingerprint, image.shape, image.voxel_nm, measured.map
    )


def _target(placed: PlacedRecipe, target: TargetSection) -> Grey:
    return read_part(placed, target.image, target.voxel_nm, target.slices, target.columns, "data.target")


def _target_stack(measured: _Measured, working_nm: float | None) -> TargetStack:
    image = measured.image
    grey = resample_slices(image.voxels, image.voxel_nm, working_nm)
    return TargetStack(image.name, grey, measured.map.table(image.voxels.dtype))


def _foreground_share(stacks: list[Stack]) -> float:
    labelled = sum(int((stack.mask != UNLABELLED).sum()) for stack in stacks)
    return sum(len(stack.foreground) for stack in stacks) / labelled
