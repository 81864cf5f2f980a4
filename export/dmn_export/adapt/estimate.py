"""How long it will take, from what its parts take: pure sums and words."""

from dataclasses import dataclass
from math import ceil

from dmn_export.adapt.timing import StagePace

EXPORT_TILES = 400
"""Forward passes that export and its certificates are about worth: precisions, their fitting and timing."""
EXPORT_LEAST_S = 20.0
QUALITY_TILES = 12  # each by the packed network once,
QUALITY_VIEWS = 8  # and by its judge so often


@dataclass(frozen=True)
class Expected:
    """What is still to come of one stage: its name, steps that are left (0: no training), seconds."""

    name: str
    steps: int
    seconds: float


def expect_training(
    name: str, pace: StagePace, *, steps: int, done: int, validate_every: int, before_s: float, after_s: float
) -> Expected:
    """Return what is left of a training.

    Args:
        name: of the stage.
        pace: of a step and of a look at slices.
        steps: of the whole training,
        done: so many of them are.
        validate_every: steps from look to look; the last step is looked at too.
        before_s: loading of the volumes, drawing of made-up ones.
        after_s: what follows the last step.
    """
    left = max(0, steps - done)
    looks = steps // validate_every - done // validate_every + (steps % validate_every > 0)
    trained = left * pace.step_s + looks * pace.look_s if left else 0.0
    return Expected(name, left, before_s + trained + after_s)


def expect_export(forward_s: float, load_s: float) -> Expected:
    """Return what export and certificates take; `forward_s` is that of a tile of 384 px."""
    return Expected("export", 0, load_s + EXPORT_LEAST_S + EXPORT_TILES * forward_s)


def expect_quality(judge_s: float, packed_s: float, load_s: float) -> Expected:
    """Return what the look at the target takes; `judge_s`, `packed_s`: of a tile of 384 px."""
    return Expected("quality", 0, load_s + QUALITY_TILES * (QUALITY_VIEWS * judge_s + packed_s))


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
