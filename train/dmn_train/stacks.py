"""Image stacks in memory, on the working grid, with everything that turns them into network input."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import QUANTILE_PERCENTS, Domain, Normalisation
from dmn_runtime.errors import RecipeError, VolumeError
from dmn_runtime.geometry import Spacing, Triple, whole
from dmn_runtime.normalise import IntensityMap, fit_map, sample_regions
from dmn_runtime.phantom import REGIMES, make_phantom
from dmn_runtime.resample import resample_slices
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.open import open_volume
from dmn_train.labelled_slices import pick_slices
from dmn_train.matching import matching_table
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.sections import PhantomSection, SliceRange, SourceSection, TargetSection

BACKGROUND, FOREGROUND, UNLABELLED = 0, 1, 255
VALIDATION_SEED_STEP = 100_000  # validation phantoms start this far from the training ones


@dataclass(frozen=True)
class Grey:
    """A whole raw volume in memory.

    Attributes:
        name: as the recipe has it.
        voxels: uint8 or uint16 zyx.
        voxel_nm: voxel size, zyx.
        fingerprint: of the content.
    """

    name: str
    voxels: Voxels
    voxel_nm: Spacing
    fingerprint: str

    @property
    def shape(self) -> Triple:
        """Voxels, zyx."""
        z, y, x = self.voxels.shape
        return (z, y, x)

    def counts(self) -> NDArray[np.int64]:
        """Return what `dmn_runtime.normalise.histogram` returns for the volume that this was read from."""
        bins = int(np.iinfo(self.voxels.dtype).max) + 1
        total = np.zeros(bins, np.int64)
        for region in sample_regions(self.shape):
            total += np.bincount(self.voxels[region.slices].ravel(), minlength=bins)
        return total


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
        slices: z of every slice with labels.
    """

    name: str
    grey: Voxels
    mask: NDArray[np.uint8]
    table: NDArray[np.float32]
    matched: tuple[NDArray[np.float32], ...]
    foreground: NDArray[np.intp]
    slices: NDArray[np.intp]


@dataclass(frozen=True)
class TargetStack:
    """An unlabelled stack of the target domain on the working grid. It has no place for labels.

    Attributes:
        name: as the recipe has it.
        grey: uint8 or uint16 zyx.
        table: float32 network input for each grey value.
    """

    name: str
    grey: Voxels
    table: NDArray[np.float32]


@dataclass(frozen=True)
class Origin:
    """Where a stack came from, for run.json.

    Attributes:
        role: "source" or "target".
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
        held_out: stacks for the validation curve; may be empty.
        target: unlabelled stacks of the target domain; may be empty.
        origins: one for each raw volume.
        domain: statistics for the drift alarm.
        voxel_nm: of the training domain's raw data, zyx.
    """

    train: tuple[Stack, ...]
    held_out: tuple[Stack, ...]
    target: tuple[TargetStack, ...]
    origins: tuple[Origin, ...]
    domain: Domain
    voxel_nm: Spacing


@dataclass(frozen=True)
class _Raw:
    image: Grey
    mask: NDArray[np.uint8]
    mask_fingerprint: str
    train: bool


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
    raws = _source(placed)
    sources = [_measured(raw.image, rule) for raw in raws]
    targets = [_measured(_target(placed, section), rule) for section in recipe.data.target]

    train: list[Stack] = []
    held_out: list[Stack] = []
    for raw, source in zip(raws, sources, strict=True):
        matched = tuple(t.map.apply(matching_table(source.counts, t.counts)) for t in targets)
        stack = _stack(raw, source.map, matched, recipe.working_voxel_nm)
        mine, kept = _split(stack, raw.train, placed)
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

    origins = [_origin("source", s, raw.mask_fingerprint) for s, raw in zip(sources, raws, strict=True)]
    origins += [_origin("target", t, None) for t in targets]
    quantiles = pooled_quantiles([(m.counts, m.map) for m in [*sources, *targets]], QUANTILE_PERCENTS)
    domain = Domain(quantiles, _foreground_share(train))
    return Material(
        train=tuple(train),
        held_out=tuple(held_out),
        target=tuple(_target_stack(t, recipe.working_voxel_nm) for t in targets),
        origins=tuple(origins),
        domain=domain,
        voxel_nm=raws[0].image.voxel_nm,
    )


def _measured(image: Grey, rule: Normalisation) -> _Measured:
    counts = image.counts()
    return _Measured(image, counts, fit_map(counts, rule, image.name))


def _origin(role: str, measured: _Measured, mask_fingerprint: str | None) -> Origin:
    image = measured.image
    return Origin(
        role, image.name, image.fingerprint, mask_fingerprint, image.shape, image.voxel_nm, measured.map
    )


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


def source_input(placed: PlacedRecipe, most: int) -> tuple[list[Stack], list[str]]:
    """Return at most `most` of the source's stacks, held-out slices included, and their fingerprints.

    Raises:
        VolumeError, RecipeError: as `load_material`.
    """
    recipe = placed.recipe
    raws = _source(placed, most)
    measured = [_measured(raw.image, recipe.normalisation.rule) for raw in raws]
    stacks = [_stack(raw, m.map, (), recipe.working_voxel_nm) for raw, m in zip(raws, measured, strict=True)]
    return stacks, [raw.image.fingerprint for raw in raws]


def read_whole(placed: PlacedRecipe, name: str, voxel_nm: Spacing | None) -> Grey:
    """Read a volume into memory.

    Raises:
        RecipeError: its voxel size is neither given nor in the file.
    """
    with open_volume(placed.locate(name), voxel_nm=voxel_nm) as volume:
        if volume.voxel_nm is None:
            raise RecipeError(f"{name} does not say its voxel size: add voxel_nm = [z, y, x] beside it")
        voxels = volume.read(whole(volume.shape))
        return Grey(name, voxels, volume.voxel_nm, volume.fingerprint())


def _source(placed: PlacedRecipe, most: int | None = None) -> list[_Raw]:
    """Read or make the source's volumes, those that are trained on first, `most` at most."""
    source = placed.recipe.data.source
    if source.phantom is None:
        return [_files(placed, source)]
    validate = placed.recipe.validate_
    return _phantoms(source.phantom, (validate.phantoms or 0) if validate else 0, most)


def _files(placed: PlacedRecipe, source: SourceSection) -> _Raw:
    assert source.image is not None
    assert source.mask is not None
    image = read_whole(placed, source.image, source.voxel_nm)
    labels = read_whole(placed, source.mask, image.voxel_nm)
    mask = _checked_mask(labels, image, source.label)
    if source.valid is not None:
        valid = read_whole(placed, source.valid, image.voxel_nm)
        _same_shape(valid, image)
        mask[valid.voxels == 0] = UNLABELLED
    columns = _columns(source.columns, image, "data.source.columns")
    return _Raw(replace(image, voxels=image.voxels[columns]), mask[columns], labels.fingerprint, train=True)


def _target(placed: PlacedRecipe, target: TargetSection) -> Grey:
    image = read_whole(placed, target.image, target.voxel_nm)
    first, stop = _inside(target.slices or (0, len(image.voxels)), image, "data.target.slices")
    columns = _columns(target.columns, image, "data.target.columns")
    return replace(image, voxels=image.voxels[columns][first:stop])


def _target_stack(measured: _Measured, working_nm: float | None) -> TargetStack:
    image = measured.image
    grey = resample_slices(image.voxels, image.voxel_nm, working_nm)
    return TargetStack(image.name, grey, measured.map.table(image.voxels.dtype))


def _columns(columns: SliceRange | None, image: Grey, key: str) -> tuple[slice, slice, slice]:
    """Return the index, zyx, of a range on the x axis."""
    width = image.shape[2]
    if columns is not None and columns[1] > width:
        raise RecipeError(f"{key} is {list(columns)}, but {image.name} has {width} columns (x)")
    return (slice(None), slice(None), slice(*(columns or (0, width))))


def _phantoms(section: PhantomSection, held_out: int, most: int | None) -> list[_Raw]:
    train = [(index, section.seed + index, True) for index in range(section.count)]
    first = section.seed + VALIDATION_SEED_STEP
    others = [(index, first + index, False) for index in range(held_out)]
    return [_phantom(section, *which) for which in [*train, *others][:most]]


def _phantom(section: PhantomSection, index: int, seed: int, train: bool) -> _Raw:
    """Make one phantom; the regimes take turns, so that each has its share."""
    regime = tuple(REGIMES)[index % len(REGIMES)]
    phantom = make_phantom(section.shape, seed=seed, voxel_nm=section.voxel_nm, regime=regime)
    name = f"phantom {seed} {regime}"
    image = Grey(name, phantom.image, phantom.voxel_nm, _digest(phantom.image))
    return _Raw(image, phantom.mask.copy(), _digest(phantom.mask), train)


def _checked_mask(labels: Grey, image: Grey, label: tuple[int, ...] | None) -> NDArray[np.uint8]:
    _same_shape(labels, image)
    if label is not None:
        return _of_interest(labels, label)
    found = {int(value) for value in np.unique(labels.voxels)}
    if not found <= {BACKGROUND, FOREGROUND, UNLABELLED}:
        raise VolumeError(
            f"{labels.name} holds the values {', '.join(map(str, sorted(found)[:6]))}, wanted 0 = background "
            "with 1 = foreground and 255 = unlabelled, or 0 with 255 = foreground alone: convert it, or name "
            "the values of interest with data.source.label"
        )
    if found <= {BACKGROUND, UNLABELLED}:  # as `dmn_runtime.evaluation.read_mask` understands such a mask
        return np.where(labels.voxels == UNLABELLED, FOREGROUND, BACKGROUND).astype(np.uint8)
    return labels.voxels.astype(np.uint8)


def _of_interest(labels: Grey, label: tuple[int, ...]) -> NDArray[np.uint8]:
    """Make a mask of several classes one of foreground and background; 255 stays unlabelled if not named."""
    mask = np.isin(labels.voxels, label).astype(np.uint8)
    if UNLABELLED not in label:
        mask[labels.voxels == UNLABELLED] = UNLABELLED
    return mask


def _same_shape(labels: Grey, image: Grey) -> None:
    if labels.shape != image.shape:
        raise VolumeError(
            f"{labels.name} has {labels.shape} voxels (zyx) and {image.name} has {image.shape}: "
            "name the labels of this image"
        )


def _inside(slices: SliceRange, volume: Grey | Stack, key: str) -> SliceRange:
    count = len(volume.voxels if isinstance(volume, Grey) else volume.grey)
    if slices[1] > count:
        raise RecipeError(f"{key} is {list(slices)}, but {volume.name} has {count} slices")
    return slices


def _stack(
    raw: _Raw, intensity: IntensityMap, matched: tuple[NDArray[np.float32], ...], working_nm: float | None
) -> Stack:
    grey = resample_slices(raw.image.voxels, raw.image.voxel_nm, working_nm)
    mask = _resampled_mask(raw.mask, raw.image.voxel_nm, working_nm)
    table = intensity.table(raw.image.voxels.dtype)
    return Stack(raw.image.name, grey, mask, table, matched, *_indices(mask))


def _resampled_mask(
    mask: NDArray[np.uint8], voxel_nm: Spacing, working_nm: float | None
) -> NDArray[np.uint8]:
    """Resample by majority: foreground where half of a pixel is; unlabelled where any of it is."""
    share = resample_slices((mask == FOREGROUND).astype(np.uint8) * 255, voxel_nm, working_nm)
    unknown = resample_slices((mask == UNLABELLED).astype(np.uint8) * 255, voxel_nm, working_nm)
    return np.where(unknown > 0, UNLABELLED, share >= 128).astype(np.uint8)


def _split(stack: Stack, train: bool, placed: PlacedRecipe) -> tuple[list[Stack], list[Stack]]:
    """Cut a stack into what is trained on and what is held out; no slice is in both."""
    if not train:
        return [], [stack]
    recipe, count = placed.recipe, len(stack.grey)
    used = _inside(recipe.data.source.slices or (0, count), stack, "data.source.slices")
    if recipe.validate_ is None or recipe.validate_.slices is None:
        return [_cut(_limited(stack, (used,), recipe), *used)], []
    first, stop = _inside(recipe.validate_.slices, stack, "validate.slices")
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


def _foreground_share(stacks: list[Stack]) -> float:
    labelled = sum(int((stack.mask != UNLABELLED).sum()) for stack in stacks)
    return sum(len(stack.foreground) for stack in stacks) / labelled


def _digest(voxels: NDArray[np.uint8]) -> str:
    return sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()
