"""The study's numbers as CSV: one row a run and protocol."""

import csv
import io
from dataclasses import dataclass, fields
from typing import Any

from dmn_runtime.bootstrap import interval
from dmn_runtime.metrics import iou, scores
from dmn_train.study.result import Result
from dmn_train.study.summary import BOOTSTRAP_SEED, RESAMPLES


@dataclass(frozen=True)
class Row:
    """A line of the CSV; shares are 0 to 1, None is an empty cell."""

    protocol: str
    arm: str
    fraction: float | None
    seed: int
    fg_iou: float
    iou_low: float | None
    iou_high: float | None
    slice_iou_mean: float
    slice_iou_sd: float | None
    dice: float
    precision: float | None
    recall: float | None
    average_precision: float | None
    held_out_rule_iou: float | None
    solidity_rule_iou: float | None
    entropy_rule_iou: float | None
    oracle_iou: float | None
    pq: float | None
    rq: float | None
    sq: float | None
    objects_found: int | None
    objects_true: int | None
    betti0_error: float | None
    nsd: float | None
    n_slices: int
    steps: int
    wall_s: float
    device: str
    weights_sha256: str
    run: str
    command: str


def row_of(result: Result) -> Row:
    """Return the line of a scored run."""
    counts = result.score.per_slice
    volume, of_slices = scores(counts.sum(axis=0)), iou(counts)
    low, high = interval(counts, iou, RESAMPLES, BOOTSTRAP_SEED) or (None, None)
    structure = result.structure
    objects = structure.objects if structure else None
    return Row(
        protocol=result.protocol,
        arm=result.arm,
        fraction=result.fraction,
        seed=result.seed,
        fg_iou=volume.iou,
        iou_low=low,
        iou_high=high,
        slice_iou_mean=float(of_slices.mean()),
        slice_iou_sd=float(of_slices.std(ddof=1)) if len(of_slices) > 1 else None,
        dice=volume.dice,
        precision=volume.precision,
        recall=volume.recall,
        average_precision=result.score.average_precision,
        held_out_rule_iou=result.by_rule.get("held_out"),
        solidity_rule_iou=result.by_rule.get("solidity"),
        entropy_rule_iou=result.by_rule.get("entropy"),
        oracle_iou=None if result.score.oracle is None else result.score.oracle.iou,
        pq=objects.pq if objects else None,
        rq=objects.rq if objects else None,
        sq=objects.sq if objects else None,
        objects_found=structure.objects_found if structure else None,
        objects_true=structure.objects_true if structure else None,
        betti0_error=structure.betti0_error if structure else None,
        nsd=structure.nsd if structure else None,
        n_slices=len(counts),
        steps=result.facts["steps"],
        wall_s=result.facts["wall_s"],
        device=result.facts["device_name"],
        weights_sha256=result.facts["weights_sha256"],
        run=result.run,
        command=result.command,
    )


def to_csv(rows: list[Row]) -> str:
    """Write rows as CSV with a heading; numbers with 4 decimals at most."""
    out = io.StringIO()
    names = [field.name for field in fields(Row)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{round(value, 4):g}" if isinstance(value, float) else str(value)
