"""Does a machine keep up with an acquisition? Pure arithmetic."""

from dataclasses import dataclass

from dmn_runtime.bench.figure import Figure
from dmn_runtime.budget.rates import Acquisition

RUN_H = 24.0
"""Length of the acquisition after which the lag is told."""
NEAR = 1.25
"""Nearer than this factor a short measurement decides nothing."""
BARELY = 1.1
"""Even a run of the wanted length may lose so much by its beginning and end."""


@dataclass(frozen=True)
class Speed:
    """How fast a machine is, voxels/s of the volume's own grid.

    Attributes:
        measured: end to end, whole runs.
        at_most: None where the runs were so long that their beginning and end do not count; else the speed of
            the network alone, which no run exceeds.
    """

    measured: Figure
    at_most: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of holding a machine against an acquisition.

    Attributes:
        acquisition: what was held against.
        keeps_up: the machine is at least as fast, by the median of its rounds; None: this measurement is too
            short to say.
        ratio: speed of the machine, as measured, over that of the acquisition.
        behind_h: hours of work that are left when an acquisition of `RUN_H` ends; 0 where it keeps up, None
            where this measurement is too short to say.
        sure: whether all rounds say the same, and beginning and end cannot have decided it.
    """

    acquisition: Acquisition
    keeps_up: bool | None
    ratio: float
    behind_h: float | None
    sure: bool


def verdict(acquisition: Acquisition, speed: Speed) -> Verdict:
    """Hold a machine against an acquisition.

    After `RUN_H` hours at r voxels/s, a machine that does m voxels/s has (r - m) * `RUN_H` hours' worth left,
    for which it needs `RUN_H` * (r / m - 1) hours more. Where runs were short, their beginning and end make m
    too small: m and the network alone are then bounds.

    Args:
        acquisition: rate in voxels/s.
        speed: of the machine.
    """
    rate, measured = acquisition.voxels_per_s, speed.measured
    ratio = measured.median / rate
    if speed.at_most is not None:
        return _between(acquisition, ratio, speed.at_most)
    keeps_up = ratio >= 1.0
    behind_h = 0.0 if keeps_up else RUN_H * (1.0 / ratio - 1.0)
    sure = measured.min >= rate or measured.max * BARELY < rate
    return Verdict(acquisition, keeps_up, ratio, behind_h, sure)


def _between(acquisition: Acquisition, ratio: float, at_most: float) -> Verdict:
    """Decide by bounds what they decide."""
    if ratio >= NEAR:
        return Verdict(acquisition, True, ratio, 0.0, sure=True)
    if at_most * NEAR < acquisition.voxels_per_s:
        return Verdict(acquisition, False, ratio, None, sure=True)
    return Verdict(acquisition, None, ratio, None, sure=False)
