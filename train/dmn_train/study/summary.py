"""What is made of scores over seeds: mean, spread, interval, and differences of arms.

Intervals are percentile bootstraps over slices (`dmn_runtime.bootstrap`). All seeds, and both arms of a
difference, are scored on the same resamples, so that what slices have in common cancels in a difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.bootstrap import Interval, interval
from dmn_runtime.metrics import iou
from dmn_train.select import Rule
from dmn_train.study.rules import RULES
from dmn_train.study.score import Score

RESAMPLES = 1000
BOOTSTRAP_SEED = 0


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
class Difference:
    """An arm minus another one, seed by seed.

    Attributes:
        volume: foreground IoU minus the other's of the same seed.
        low_high: 95 % interval of its mean, slices resampled for both arms alike.
    """

    volume: Spread
    low_high: Interval | None


@dataclass(frozen=True)
class Summary:
    """An arm in a protocol over its seeds.

    Attributes:
        volume: foreground IoU over all voxels.
        low_high: 95 % interval of its mean over seeds, slices resampled.
        slices: mean IoU of single slices.
        by_rule: volume IoU had another rule chosen the weights; a rule is there if it chose in every run.
        oracle: best weights by the test labels; None unless every run kept snapshots.
        minus: differences to other arms by their names; one is there if some seed has both.
    """

    volume: Spread
    low_high: Interval | None
    slices: Spread
    by_rule: Mapping[Rule, Spread]
    oracle: Spread | None
    minus: Mapping[str, Difference]


def summarise(
    of_arm: dict[int, Score],
    others: Mapping[str, Mapping[int, Score]],
    by_rule: Mapping[int, Mapping[Rule, float]] | None = None,
) -> Summary:
    """Summarise an arm's scores by seed.

    Args:
        of_arm: at least one score, all of the same slices.
        others: scores of the same slices by seed, of each arm that it is compared with.
        by_rule: of each seed, `Result.by_rule`.
    """
    chosen = by_rule or {}
    rules = {rule: {seed: chosen[seed][rule] for seed in chosen if rule in chosen[seed]} for rule in RULES}
    volume = {seed: _volume(score) for seed, score in of_arm.items()}
    differences = {name: _difference(of_arm, of_other) for name, of_other in others.items()}
    oracles = {seed: score.oracle.iou for seed, score in of_arm.items() if score.oracle is not None}
    return Summary(
        volume=spread(volume),
        low_high=_interval([s.per_slice for s in of_arm.values()], lambda ious: ious.mean(axis=1)),
        slices=spread({seed: float(iou(score.per_slice).mean()) for seed, score in of_arm.items()}),
        by_rule={rule: spread(found) for rule, found in rules.items() if len(found) == len(of_arm)},
        oracle=spread(oracles) if len(oracles) == len(of_arm) else None,
        minus={name: found for name, found in differences.items() if found is not None},
    )


def _difference(of_arm: Mapping[int, Score], of_other: Mapping[int, Score]) -> Difference | None:
    both = [seed for seed in of_arm if seed in of_other]
    if not both:
        return None
    pairs = [score.per_slice for seed in both for score in (of_arm[seed], of_other[seed])]
    return Difference(
        spread({seed: _volume(of_arm[seed]) - _volume(of_other[seed]) for seed in both}),
        _interval(pairs, lambda ious: ious[:, 0::2].mean(axis=1) - ious[:, 1::2].mean(axis=1)),
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
