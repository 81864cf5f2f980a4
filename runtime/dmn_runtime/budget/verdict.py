"""Does a machine keep up with an acquisition? Pure arithmetic."""

from dataclasses import dataclass

from dmn_runtime.bench.figure import Figure
from dmn_runtime.budget.rates import Acquisition

RUN_H = 24.0
"""Length of the acquisition after which the lag is told."""


@dataclass(frozen=True)
class Verdict:
    """What came of holding a machine against an acquisition.

    Attributes:
        acquisition: what was held against.
        keeps_up: the machine is at least as fast, by the median of its rounds.
        ratio: speed of the machine over that of the acquisition.
        behind_h: hours of work that are left when an acquisition of `RUN_H` ends; 0 where it keeps up.
        sure: whether all rounds say the same.
    """

    acquisition: Acquisition
    keeps_up: bool
    ratio: float
    behind_h: float
    sure: bool


def verdict(acquisition: Acquisition, measured: Figure) -> Verdict:
    """Hold a machine against an acquisition.

    After `RUN_H` hours at r voxels/s, a machine that does m voxels/s has (r - m) * `RUN_H` hours' worth left,
    for which it needs `RUN_H` * (r / m - 1) hours more.

    Args:
        acquisition: rate in voxels/s.
        measured: end to end, voxels/s of the volume's own grid.
    """
    rate = acquisition.voxels_per_s
    keeps_up = measured.median >= rate
    behind_h = 0.0 if keeps_up else RUN_H * (rate / measured.median - 1.0)
    sure = (measured.min >= rate) == (measured.max >= rate)
    return Verdict(acquisition, keeps_up, measured.median / rate, behind_h, sure)
