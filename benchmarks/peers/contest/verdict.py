"""What the measurements say: speeds with their spread, ratios pair by pair, and the acceptance."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from contest.store import Record, Store

EQUAL_IOU = 0.002
"""Two IoUs closer than this count as equal."""
ACCEPTANCE = (("monai-gaussian", 8.0), ("monai-default", 4.0), ("monai-none", 1.5))
"""How many times as fast as each of MONAI's ways DMN is wanted to be (issue 5, acceptance 2)."""
JUDGED = ("dmn-fp32", "dmn-auto")


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some figures, and how many they were."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Verdict:
    """One line of the acceptance.

    Attributes:
        dmn, peer: contestants.
        wanted: ratio.
        ratio: measured, round by round; None where one of them was not measured.
        iou_dmn, iou_peer: None without labels.
        settled: whether the package's network gives what PyTorch gives, so that both ran the same student.
        met: None where it cannot be said.
    """

    dmn: str
    peer: str
    wanted: float
    ratio: Spread | None
    iou_dmn: float | None
    iou_peer: float | None
    settled: bool
    met: bool | None


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of at least one figure."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def seconds_by_round(store: Store, course: Record, contestant: str) -> dict[int, float]:
    """Return what a contestant took in each round."""
    records = store.of("measurements", **course, contestant=contestant)
    return {int(one["round"]): float(one["seconds"]) for one in records}


def speed(store: Store, course: Record, contestant: str) -> Spread | None:
    """Return voxels of the working grid per second; None if it was not measured."""
    seconds = seconds_by_round(store, course, contestant)
    voxels = prod(store.config["volumes"][course["volume"]]["working_shape"])
    return spread_of([voxels / one for one in seconds.values()]) if seconds else None


def ratio(store: Store, course: Record, dmn: str, peer: str) -> Spread | None:
    """Return how many times as fast as `peer` `dmn` is, round by round; None if no round has both."""
    mine, theirs = (seconds_by_round(store, course, name) for name in (dmn, peer))
    both = sorted(set(mine) & set(theirs))
    return spread_of([theirs[turn] / mine[turn] for turn in both]) if both else None


def iou_of(store: Store, course: Record, contestant: str) -> float | None:
    """Return the IoU against the labels; None without."""
    found = store.find("accuracy", **course, contestant=contestant)
    return None if found is None or found["iou"] is None else float(found["iou"])


def verdicts(store: Store, course: Record) -> tuple[Verdict, ...]:
    """Hold a course against the acceptance."""
    return tuple(_verdict(store, course, dmn, peer, wanted) for dmn in JUDGED for peer, wanted in ACCEPTANCE)


def _verdict(store: Store, course: Record, dmn: str, peer: str, wanted: float) -> Verdict:
    found = ratio(store, course, dmn, peer)
    mine, theirs = iou_of(store, course, dmn), iou_of(store, course, peer)
    equal = store.find("equality", **course)
    settled = equal is not None and bool(equal["settled"])
    met = None
    if settled and found is not None and mine is not None and theirs is not None:
        met = found.median >= wanted and mine >= theirs - EQUAL_IOU
    return Verdict(dmn, peer, wanted, found, mine, theirs, settled, met)
