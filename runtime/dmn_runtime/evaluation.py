"""A prediction against a mask, slab by slab in bounded memory (docs/evaluation.md is the page of law)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dmn_runtime import objects as objects_module
from dmn_runtime.bootstrap import Interval, interval
from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.extras import require
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.machine import memory_bytes
from dmn_runtime.metrics import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    VoxelScores,
    average_precision,
    class_histograms,
    confusion,
    iou,
    scores,
)
from dmn_runtime.objects import ObjectScores
from dmn_runtime.volume.base import Volume

SLAB_VOXELS = 16 * 1024 * 1024
UNLABELLED = 255
_ROUNDING = 1e-9  # of dmn_runtime.tiles.grey_threshold: 0.6 * 255 must not miss 153
Kind = Literal["auto", "mask", "probability"]
Reading255 = Literal["auto", "foreground", "unlabelled"]


@dataclass(frozen=True)
class PredictionReading:
    """How a prediction's values are understood.

    `foreground`: bool, one a grey value; `words`: the same for people.
    """

    kind: Literal["mask", "probability"]
    foreground: NDArray[np.bool_]
    words: str


@dataclass(frozen=True)
class MaskReading:
    """How a mask's values are understood: `classes` is uint8, NEGATIVE, POSITIVE or IGNORED by grey value."""

    classes: NDArray[np.uint8]
    words: str


@dataclass(frozen=True)
class SliceScores:
    """IoU of single slices: mean, sample standard deviation (None for one slice), number of slices."""

    iou_mean: float
    iou_sd: float | None
    n: int


@dataclass(frozen=True)
class Evaluation:
    """Everything that `dmn evaluate` says.

    `volume`: all voxels together; `volume_iou_interval`: 95 %, slices resampled; `average_precision`: None
    for a prediction that is a mask; `slices`: slices with at least one counted voxel; `objects`: None where
    they were not counted, and then `objects_note` says why. Counts are voxels.
    """

    prediction_words: str
    mask_words: str
    prediction_kind: str
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    ignored: int
    volume: VoxelScores
    volume_iou_interval: Interval | None
    average_precision: float | None
    slices: SliceScores
    objects: ObjectScores | None
    objects_note: str | None
    resamples: int
    seed: int


def evaluate(
    prediction: Volume,
    mask: Volume,
    *,
    valid: Volume | None = None,
    kind: Kind = "auto",
    value_255: Reading255 = "auto",
    threshold: float = 0.5,
    objects: bool | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare a prediction with a mask of the same shape.

    Args:
        prediction: mask, or probability (grey value / largest grey value of the dtype).
        mask: the truth.
        valid: voxels that are 0 here are ignored.
        kind: what `prediction` holds; "auto" is `read_prediction`'s rule.
        value_255: what 255 means in an 8-bit mask; "auto" is `read_mask`'s rule.
        threshold: a voxel is foreground where probability >= threshold; plays no part for masks.
        objects: count objects, which holds both whole masks in memory; None: if that is possible here.
        resamples: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.

    Raises:
        UsageError: a value out of range, or objects wanted that do not fit in memory.
        MissingExtra: objects wanted and the package that counts them is missing.
        VolumeError: shapes differ, every voxel is ignored, or a file is damaged.
    """
    _check_options(threshold, resamples)
    _check_shapes(prediction, mask, valid)
    note = objects_obstacle(mask.shape) if objects is None else None
    if objects:
        _require_objects(mask.shape)
    wanted = note is None if objects is None else objects
    for volume in (prediction, mask, valid):
        if volume is not None:
            _refuse_shifted(volume)
    predicted = read_prediction(prediction, kind, threshold)
    truth = read_mask(mask, value_255)
    counts = _count(prediction, predicted, mask, truth, valid, keep_masks=wanted)
    per_slice = counts.per_slice[counts.per_slice.sum(axis=1) > 0]
    if len(per_slice) == 0:
        raise VolumeError(_all_ignored(mask, valid))
    total = per_slice.sum(axis=0)
    tp, fp, fn, tn = (int(count) for count in total)
    ious = iou(per_slice)
    return Evaluation(
        prediction_words=predicted.words,
        mask_words=truth.words,
        prediction_kind=predicted.kind,
        threshold=threshold,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        ignored=int(np.prod(mask.shape, dtype=np.int64)) - int(total.sum()),
        volume=scores(total),
        volume_iou_interval=interval(per_slice, iou, resamples, seed),
        average_precision=average_precision(counts.histograms) if predicted.kind == "probability" else None,
        slices=SliceScores(
            iou_mean=float(ious.mean()),
            iou_sd=float(ious.std(ddof=1)) if len(ious) > 1 else None,
            n=len(ious),
        ),
        objects=_score_objects(counts.masks, resamples, seed),
        objects_note=note if note or wanted else "not asked for",
        resamples=resamples,
        seed=seed,
    )


def objects_obstacle(shape: Triple) -> str | None:
    """Return why objects of a volume of `shape` cannot be counted on this machine; None if they can."""
    try:
        _require_objects(shape)
    except (ModuleNotFoundError, UsageError) as obstacle:
        return str(obstacle)
    return None


def _require_objects(shape: Triple) -> None:
    require("cc3d", to="count objects")
    needed, present = objects_module.BYTES_PER_VOXEL * int(np.prod(shape, dtype=np.int64)), memory_bytes()
    if present is not None and needed > present:
        raise UsageError(
            f"to count objects, the whole masks must fit in memory, which takes {needed / 1e9:.1f} GB, and "
            f"this machine has {present / 1e9:.1f} GB: evaluate a part of the volume, or use --no-objects"
        )


def _score_objects(
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None, resamples: int, seed: int
) -> ObjectScores | None:
    return None if masks is None else objects_module.score(objects_module.match(*masks), resamples, seed)


def _check_options(threshold: float, resamples: int) -> None:
    if not 0.0 <= threshold <= 1.0:  # also refuses NaN
        raise UsageError(f"--threshold is {threshold:g}, but a probability lies between 0 and 1")
    if resamples < 0:
        raise UsageError(f"--bootstrap is {resamples}, but a number of resamples is 0 (no interval) or more")


def _check_shapes(prediction: Volume, mask: Volume, valid: Volume | None) -> None:
    for name, other in (("mask", mask), ("valid mask", valid)):
        if other is not None and other.shape != prediction.shape:
            raise VolumeError(
                f"the prediction {prediction.path} is {shape_text(prediction.shape)} voxels (z, y, x) and "
                f"the {name} {other.path} is {shape_text(other.shape)}: they must lie on the same grid"
            )


def _all_ignored(mask: Volume, valid: Volume | None) -> str:
    marks = f"{mask.path} and {valid.path}" if valid else mask.path
    return f"every voxel is marked as unlabelled by {marks}: there is nothing to compare"


def shape_text(shape: Triple) -> str:
    """Write a shape for people: "20 x 1024 x 1024"."""
    return " x ".join(str(edge) for edge in shape)


def read_prediction(volume: Volume, kind: Kind, threshold: float) -> PredictionReading:
    """Decide what the values of a prediction mean.

    "auto": what lies in the `labels` group of an OME-Zarr is a mask and its image is a probability; elsewhere
    a volume that holds no other values than 0 and 1, or 0 and the largest grey value, is a mask, and the rest
    is a probability, if 8-bit.

    Raises:
        UsageError: "auto" on 16-bit values that may be labels as well as probabilities, or an unknown kind.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"--kind is '{kind}', but it must be one of {', '.join(get_args(Kind))}")
    top = int(np.iinfo(volume.dtype).max)
    if (_guess_kind(volume, top) if kind == "auto" else kind) == "mask":
        return PredictionReading(
            "mask", np.arange(top + 1) > 0, "mask: 0 = background, the rest = foreground"
        )
    return PredictionReading(
        "probability",
        np.arange(top + 1) >= threshold * top - _ROUNDING,
        f"probability: 0 to {top} = 0 to 1, foreground from {threshold:g}",
    )


def _guess_kind(volume: Volume, top: int) -> Literal["mask", "probability"]:
    if volume.format.startswith("OME-Zarr"):
        inside = volume.path.rpartition(".zarr")[2]  # a folder above the store may be called labels too
        return "mask" if "labels" in re.split(r"[/\\:]+", inside) else "probability"
    if _holds_only(volume, {0, 1}, {0, top}):
        return "mask"
    if volume.dtype.itemsize > 1:
        raise UsageError(
            f"the prediction {volume.path} holds 16-bit values that may be labels or probabilities: "
            "say which with --kind mask or --kind probability"
        )
    return "probability"


def _refuse_shifted(volume: Volume) -> None:
    # MRC's signed bytes are read as grey values with 128 added, which turns the label 0 into 128.
    if volume.format == "MRC" and _holds_only(volume, set(range(128, 256))):
        raise VolumeError(
            f"the bytes of {volume.path} are signed, which is no way to keep a mask: convert it to TIFF, "
            "or to MRC mode 6"
        )


def read_mask(volume: Volume, value_255: Reading255) -> MaskReading:
    """Decide what the values of a mask mean.

    0 is background and the rest is foreground, but for 255 in an 8-bit mask: "auto" takes it for foreground
    in a mask that holds no other values than 0 and 255, and for unlabelled otherwise.

    Raises:
        UsageError: an unknown reading.
    """
    if value_255 not in get_args(Reading255):
        raise UsageError(
            f"--mask-255 is '{value_255}', but it must be one of {', '.join(get_args(Reading255))}"
        )
    classes = np.full(int(np.iinfo(volume.dtype).max) + 1, POSITIVE, np.uint8)
    classes[0] = NEGATIVE
    if volume.dtype.itemsize > 1:
        return MaskReading(classes, "16-bit: 0 = background, the rest = foreground")
    if value_255 == "foreground" or (value_255 == "auto" and _holds_only(volume, {0, UNLABELLED})):
        return MaskReading(classes, "0 = background, 1 to 255 = foreground")
    classes[UNLABELLED] = IGNORED
    return MaskReading(classes, "0 = background, 1 to 254 = foreground, 255 = unlabelled")


def _holds_only(volume: Volume, *sets: set[int]) -> bool:
    """Tell whether the volume's values lie within one of `sets`; stops at the first slab that decides."""
    open_sets = list(sets)
    for region in slabs(volume.shape):
        present = set(np.unique(volume.read(region)).tolist())
        open_sets = [allowed for allowed in open_sets if present <= allowed]
        if not open_sets:
            return False
    return True


def slabs(shape: Triple) -> Iterator[Region]:
    """Cut a volume into regions of at most `SLAB_VOXELS`: whole slices, or bands of a larger slice."""
    z, y, x = shape
    rows = min(y, max(1, SLAB_VOXELS // x))
    depth = max(1, SLAB_VOXELS // (y * x))
    for z0 in range(0, z, depth):
        for y0 in range(0, y, rows):
            yield Region((z0, y0, 0), (min(z, z0 + depth), min(y, y0 + rows), x))


@dataclass(frozen=True)
class _Counts:
    """`per_slice`: int64 (z, 4): tp, fp, fn, tn; `histograms`: int64 (2, bins); `masks`: bool zyx or None."""

    per_slice: NDArray[np.int64]
    histograms: NDArray[np.int64]
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None


def _count(
    prediction: Volume,
    predicted: PredictionReading,
    mask: Volume,
    truth: MaskReading,
    valid: Volume | None,
    *,
    keep_masks: bool,
) -> _Counts:
    bins = len(predicted.foreground)
    per_slice = np.zeros((mask.shape[0], 4), np.int64)
    histograms = np.zeros((2, bins), np.int64)
    masks = (np.zeros(mask.shape, np.bool_), np.zeros(mask.shape, np.bool_)) if keep_masks else None
    for region in slabs(mask.shape):
        values = prediction.read(region)
        classes = truth.classes[mask.read(region)]
        if valid is not None:
            classes[valid.read(region) == 0] = IGNORED
        for offset, z in enumerate(range(region.start[0], region.stop[0])):
            of_slice = class_histograms(values[offset], classes[offset], bins)
            histograms += of_slice
            per_slice[z] += confusion(of_slice, predicted.foreground)
        if masks is not None:
            masks[0][region.slices] = predicted.foreground[values] & (classes != IGNORED)
            masks[1][region.slices] = classes == POSITIVE
    return _Counts(per_slice, histograms, masks)
