"""How long it will take, from what a step takes: pure sums and words."""

from dataclasses import dataclass
from math import ceil

from dmn_export.adapt.timing import StagePace

EXPORT_TILES = 400
"""Forward passes that export and its certificates are about worth: precisions, their fitting and timing."""
EXPORT_LEAST_S = 20.0


@dataclass(frozen=True)
class Expected:
    """What is still to come of one stage: its name, steps that are left (0: no training), seconds."""

    name: str
    steps: int
    seconds: float


def expect_training(name: str, pace: StagePace, *, steps: int, done: int, validate_every: int) -> Expected:
    """Return what is left of a training after `done` steps of `steps`."""
    left = max(0, steps - done)
    looks = steps // validate_every - done // validate_every + (steps % validate_every > 0)
    return Expected(name, left, left * pace.step_s + (looks * pace.look_s if left else 0.0))


def expect_export(forward_s: float) -> Expected:
    """Return what export and certificates take; `forward_s` is that of a tile of 384 px."""
    return Expected("export", 0, EXPORT_LEAST_S + EXPORT_TILES * forward_s)


def duration(seconds: float) -> str:
    """Return a duration in words, rounded up: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(5, 5 * ceil(seconds / 5))} s"
    if seconds < 90 * 60:
        return f"{ceil(seconds / 60)} min"
    return f"{ceil(2 * seconds / 3600) / 2:g} h"


def estimate_words(expected: list[Expected]) -> str:
    """Return one sentence on all that is to come, stage by stage."""
    parts = [
        f"{one.name} {duration(one.seconds)}" + (f" ({one.steps} steps)" if one.steps else "")
        for one in expected
    ]
    total = duration(sum(one.seconds for one in expected))
    return f"this will take about {total} on this machine: {', '.join(parts)}"
