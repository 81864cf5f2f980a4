"""The lag meter: how far segmentation is behind the microscope, counted here and said in one line."""

from collections import deque
from dataclasses import dataclass
from typing import final

from dmn_runtime.words import counted

RECENT = 32
"""The rate of acquisition is that of so many last arrivals: a pause for the night is no slow microscope."""
HOUR_S = 3600.0


@dataclass(frozen=True)
class Progress:
    """Where a live run stands.

    Attributes:
        arrived: slices that are complete on disk.
        segmented: slices whose blocks are all up to date.
        lag_s: from arrival to segmentation of the newest slice that is segmented; None before the first.
        acquired_per_s: slices/s that arrive; None before two have come.
        segmented_per_s: slices/s while segmentation is at work; None before the first.
        slice_voxels: voxels of a slice.
        until: slices that the run waits for; None where it goes on until it is stopped.
        waits_for: what the next slab lacks, for people; empty where it lacks nothing.
    """

    arrived: int
    segmented: int
    lag_s: float | None
    acquired_per_s: float | None
    segmented_per_s: float | None
    slice_voxels: int
    until: int | None = None
    waits_for: str = ""


def meter_line(progress: Progress) -> str:
    """Say where a run stands in one line."""
    behind = max(0, progress.arrived - progress.segmented)
    lag = f"lag {counted(behind, 'slice')}" + (
        "" if progress.lag_s is None else f", {_duration(progress.lag_s)}"
    )
    parts = [
        f"{_slices(progress)} arrived, {progress.segmented} segmented",
        lag,
        f"acquisition {_rate(progress.acquired_per_s, progress.slice_voxels)}",
        f"segmentation {_rate(progress.segmented_per_s, progress.slice_voxels)}",
    ]
    line = "; ".join([*parts, verdict(progress)])
    return f"{line}; waits for {progress.waits_for}" if progress.waits_for else line


def _slices(progress: Progress) -> str:
    if progress.until is None:
        return counted(progress.arrived, "slice")
    return f"{progress.arrived} of {counted(progress.until, 'slice')}"


def verdict(progress: Progress) -> str:
    """Say whether segmentation keeps up with acquisition, and what follows if not."""
    acquired, segmented = progress.acquired_per_s, progress.segmented_per_s
    if acquired is None or segmented is None:
        return "rates not known yet"
    if segmented >= acquired:
        return "keeps up"
    behind = max(0, progress.arrived - progress.segmented)
    losing = acquired - segmented
    falls = f"falls behind by {losing * HOUR_S:.0f} slices an hour"
    if progress.until is None:
        return f"{falls}; would catch up in {_duration(behind / segmented)} if it ended now"
    at_end = behind + losing * max(0, progress.until - progress.arrived) / acquired
    return f"{falls}; catches up in {_duration(at_end / segmented)} after the end"


def _rate(per_s: float | None, slice_voxels: int) -> str:
    if per_s is None:
        return "not known yet"
    return f"{per_s:.3g} slices/s ({per_s * slice_voxels / 1e6:.3g} Mvoxel/s)"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR_S:.1f} h"


@final
class LagCounter:
    """Counts arrivals and finished slices; memory grows with the lag only."""

    def __init__(self) -> None:
        self.lag_s: float | None = None
        self._waiting: dict[int, float] = {}
        self._newest = -1
        self._arrivals: deque[float] = deque(maxlen=RECENT)
        self._finished = 0
        self._busy_s = 0.0
        self._since_s: float | None = None

    def arrived(self, z: int, now_s: float, *, backlog: bool) -> None:
        """Slice `z` came at `now_s`; of a `backlog` that lay there when the run began, nobody knows when."""
        self._waiting[z] = now_s
        if not backlog:
            self._arrivals.append(now_s)

    def finished(self, z: int, now_s: float, *, worked: bool) -> None:
        """Slice `z` is up to date: segmented by this run's work, or found so."""
        came_s = self._waiting.pop(z, None)
        if came_s is None or not worked:
            return
        self._finished += 1
        if z >= self._newest:
            self._newest, self.lag_s = z, now_s - came_s

    def begin_work(self, now_s: float) -> None:
        """Segmentation is at work from `now_s` on."""
        self._since_s = now_s

    def end_work(self, now_s: float) -> None:
        """Segmentation is no longer at work."""
        if self._since_s is not None:
            self._busy_s += now_s - self._since_s
        self._since_s = None

    def acquired_per_s(self) -> float | None:
        """Return slices/s of the last arrivals; None before two that came at different times."""
        if len(self._arrivals) < 2 or self._arrivals[-1] <= self._arrivals[0]:
            return None
        return (len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0])

    def segmented_per_s(self, now_s: float) -> float | None:
        """Return slices/s while segmentation was at work; None before the first."""
        busy_s = self._busy_s + (0.0 if self._since_s is None else now_s - self._since_s)
        return self._finished / busy_s if self._finished and busy_s > 0 else None
