"""The study's numbers: one row a run and protocol, and what is made of the rows over seeds.

Intervals are percentile bootstraps over slices (`dmn_runtime.bootstrap`). All seeds, and both arms of a
difference, are scored on the same resamples, so that what slices have in common cancels in a difference.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.bootstrap import Interval, interval
from dmn_runtime.metrics import iou, scores
from dmn_train.select import Rule
from dmn_train.study.rules import RULES
from dmn_train.study.scoring import Score

RESAMPLES = 1000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Result:
    """A scored run.

    Attributes:
        protocol: name.
        arm: name.
        fraction: share of the target's labels; None without fine-tuning.
        seed: of the run.
        score: of the run in the protocol.
        by_rule: foreground IoU of what each rule of selection would have kept; empty without snapshots.
        facts: the run's run.json.
        run: id of its job.
        folder: of the run.
        command: the words that trained it; empty for a run taken as it is.
    """

    protocol: str
    arm: str
    fraction: float | None
    seed: int
    score: Score
    by_rule: Mapping[Rule, float]
    facts: dict[str, Any]
    run: str
    folder: Path
    command: str


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


@dataclass(frozen=True)
class Spread:
    """Numbers of several seeds: mean, sample standard deviation (None for one), and each, by seed."""

    mean: float
    sd: float | None
    by_seed: dict[int, float]

    @property
    def n(self) -> int:
        """How many."""
        return len(self.by_seed)


def spread(by_seed: dict[int, float]) -> Spread:
    """Return mean and spread of at least one number."""
    values = np.array(list(by_seed.values()))
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, by_seed)


@dataclass(frozen=True)
class Summary:
    """An arm in a protocol over its seeds.

    Attributes:
        volume: foreground IoU over all voxels.
        low_high: 95 % interval of its mean over seeds, slices resampled.
        slices: mean IoU of single slices.
        by_rule: volume IoU had another rule chosen the weights; a rule is there if it chose in every run.
        oracle: best weights by the test labels; None unless every run kept snapshots.
        difference: volume IoU minus the baseline's of the same seed; None where no seed has both.
        difference_low_high: 95 % interval of its mean.
    """

    volume: Spread
    low_high: Interval | None
    slices: Spread
    by_rule: Mapping[Rule, Spread]
    oracle: Spread | None
    difference: Spread | None
    difference_low_high: Interval | None


def summarise(
    of_arm: dict[int, Score],
    of_baseline: dict[int, Score] | None,
    by_rule: Mapping[int, Mapping[Rule, float]] | None = None,
) -> Summary:
    """Summarise an arm's scores by seed; the baseline's are None where the arm is the baseline.

    Args:
        of_arm: at least one score, all of the same slices.
        of_baseline: scores of the same slices.
        by_rule: of each seed, `Result.by_rule`.
    """
    chosen = by_rule or {}
    rules = {rule: {seed: chosen[seed][rule] for seed in chosen if rule in chosen[seed]} for rule in RULES}
    volume = {seed: _volume(score) for seed, score in of_arm.items()}
    both = [seed for seed in of_arm if of_baseline is not None and seed in of_baseline]
    difference, bounds = None, None
    if of_baseline is not None and both:
        difference = spread({seed: volume[seed] - _volume(of_baseline[seed]) for seed in both})
        pairs = [score.per_slice for seed in both for score in (of_arm[seed], of_baseline[seed])]
        bounds = _interval(pairs, lambda ious: ious[:, 0::2].mean(axis=1) - ious[:, 1::2].mean(axis=1))
    oracles = {seed: score.oracle.iou for seed, score in of_arm.items() if score.oracle is not None}
    return Summary(
        volume=spread(volume),
        low_high=_interval([s.per_slice for s in of_arm.values()], lambda ious: ious.mean(axis=1)),
        slices=spread({seed: float(iou(score.per_slice).mean()) for seed, score in of_arm.items()}),
        by_rule={rule: spread(found) for rule, found in rules.items() if len(found) == len(of_arm)},
        oracle=spread(oracles) if len(oracles) == len(of_arm) else None,
        difference=difference,
        difference_low_high=bounds,
    )


def _volume(score: Score) -> float:
    return float(iou(score.per_slice.sum(axis=0)))


def _interval(
    counts: list[NDArray[np.int64]], mean: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Interval | None:
    """Return the interval of a number made of the IoUs (resamples, len(counts)) of the same resamples."""
    side_by_side = np.concatenate(counts, axis=1)

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return mean(iou(sums.reshape(len(sums), len(counts), 4)))

    return interval(side_by_side, score, RESAMPLES, BOOTSTRAP_SEED)
