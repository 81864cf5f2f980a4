"""`dmn evaluate`: compare a prediction with a mask."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dmn_runtime.bootstrap import Interval
from dmn_runtime.evaluation import Evaluation, Kind, Reading255, evaluate, shape_text
from dmn_runtime.mask_file import open_mask
from dmn_runtime.objects import FLOOR_VOXELS, MATCH_IOU, ObjectScores
from dmn_runtime.volume.base import Volume
from dmn_runtime.volume.open import open_volume


def command(
    prediction: Annotated[
        Path, typer.Argument(help="Mask or probability: an OME-Zarr of dmn infer, or any other volume.")
    ],
    mask: Annotated[Path, typer.Argument(help="The truth, on the same grid: 0 is background.")],
    valid: Annotated[Path | None, typer.Option(help="Voxels that are 0 in this volume are ignored.")] = None,
    threshold: Annotated[
        float, typer.Option(help="A voxel is foreground from this probability on; masks have none.")
    ] = 0.5,
    kind: Annotated[
        Kind,
        typer.Option(
            help="What PREDICTION holds. auto: the labels of an OME-Zarr are a mask and its image is a "
            "probability; any other volume is a mask if it holds only 0 and 1, or only 0 and the largest "
            "value, and else a probability."
        ),
    ] = "auto",
    mask_255: Annotated[
        Reading255,
        typer.Option(
            "--mask-255",
            help="What 255 means in an 8-bit MASK. auto: foreground if 0 and 255 are its only values, "
            "else unlabelled, which is ignored.",
        ),
    ] = "auto",
    objects: Annotated[
        bool | None,
        typer.Option(
            "--objects/--no-objects",
            help="Count objects, which holds both whole masks in memory, 12 bytes a voxel. "
            "Default: if this machine can.",
            show_default=False,
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(max=100_000, help="Resamples behind each 95 % interval; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare a prediction with a mask: voxels, slices and objects.

    Prints IoU, Dice, precision, recall, MCC and average precision of the foreground over all voxels, the
    mean IoU of single slices, and the panoptic quality of objects, with 95 % bootstrap intervals. How the
    values of both files were read is printed too. Nothing is post-processed.
    """
    with ExitStack() as files:
        predicted = files.enter_context(open_volume(prediction))
        truth = files.enter_context(open_mask(mask, "mask"))
        counted = files.enter_context(open_mask(valid, "valid mask")) if valid is not None else None
        result = evaluate(
            predicted,
            truth,
            valid=counted,
            kind=kind,
            value_255=mask_255,
            threshold=threshold,
            objects=objects,
            resamples=bootstrap,
            seed=seed,
        )
        volumes = {"prediction": predicted, "mask": truth, "valid": counted}
        typer.echo(
            json.dumps(evaluation_json(result, volumes), allow_nan=False)
            if as_json
            else evaluation_text(result, volumes)
        )


def evaluation_json(result: Evaluation, volumes: dict[str, Volume | None]) -> dict[str, Any]:
    """Return the evaluation as plain JSON values, with the files that were compared."""
    files = {
        name: volume and {"path": volume.path, "format": volume.format, "shape": volume.shape}
        for name, volume in volumes.items()
    }
    return {"files": files, **asdict(result)}


def evaluation_text(result: Evaluation, volumes: dict[str, Volume | None]) -> str:
    """Return the evaluation as an aligned table for people."""
    words = {"prediction": result.prediction_words, "mask": result.mask_words, "valid": "0 = ignored"}
    head = [
        f"{name:<12}{volume.path} ({volume.format}, {shape_text(volume.shape)} voxels; {words[name]})"
        for name, volume in volumes.items()
        if volume is not None
    ]
    counted = result.true_positives + result.false_positives + result.false_negatives + result.true_negatives
    true = result.true_positives + result.false_negatives
    predicted = result.true_positives + result.false_positives
    voxels = (
        f"{'voxels':<12}{counted:,} counted, {result.ignored:,} ignored; foreground "
        f"{100 * true / counted:.2f} % of the mask, {100 * predicted / counted:.2f} % of the prediction"
    )
    return "\n".join([*head, voxels, "", *_voxel_lines(result), "", *_object_lines(result)])


def _voxel_lines(result: Evaluation) -> list[str]:
    volume, slices = result.volume, result.slices
    shown = f"{slices.n} slices" if slices.n != 1 else "1 slice"
    lines = [
        f"all voxels together, n = {shown}",
        _line("IoU", volume.iou, _interval(result.volume_iou_interval, "slices", result.resamples)),
        _line("Dice", volume.dice),
        _line("precision", volume.precision),
        _line("recall", volume.recall),
        _line("MCC", volume.mcc),
    ]
    if result.prediction_kind == "probability":
        lines.append(_line("AP", result.average_precision, "average precision, all thresholds"))
    spread = f"sd {slices.iou_sd:.4f} between slices" if slices.iou_sd is not None else ""
    return [*lines, "", f"mean over slices, n = {shown}", _line("IoU", slices.iou_mean, spread)]


def _object_lines(result: Evaluation) -> list[str]:
    if result.objects is None:
        return [f"objects: not counted ({result.objects_note})"]
    return _counted_object_lines(result.objects, result.resamples)


def _counted_object_lines(objects: ObjectScores, resamples: int) -> list[str]:
    matched, extra, missed = objects.true_positives, objects.false_positives, objects.false_negatives
    return [
        f"objects, 26-connected, at least {FLOOR_VOXELS} voxels, matched at IoU > {MATCH_IOU}: "
        f"n = {matched + missed} in the mask, {matched + extra} predicted",
        _line("PQ", objects.pq, _interval(objects.pq_interval, "objects", resamples)),
        _line("SQ", objects.sq, "mean IoU of matched objects"),
        _line("RQ = F1", objects.rq, f"{matched} matched, {missed} missed, {extra} invented"),
    ]


def _line(name: str, value: float | None, remark: str = "") -> str:
    shown = "undefined" if value is None else f"{value:.4f}"
    return f"  {name:<11}{shown:>9}   {remark}".rstrip()


def _interval(bounds: Interval | None, units: str, resamples: int) -> str:
    if bounds is None:
        return "no interval"
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}: 95 %, {units} resampled {resamples:,} times"
