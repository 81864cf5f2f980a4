"""A budget for people and as JSON (docs/budget.md)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dmn_runtime.bench.load import busy_sentence
from dmn_runtime.bench.result import Bench
from dmn_runtime.bench.stages import limit_of
from dmn_runtime.bench.text import volume_words
from dmn_runtime.bench.wording import table
from dmn_runtime.budget.measured import run_s
from dmn_runtime.budget.mends import LIMIT_WORDS
from dmn_runtime.budget.rates import MEGA
from dmn_runtime.budget.verdict import RUN_H, Speed, Verdict
from dmn_runtime.machine import possible_cores

FORMAT = "dmn-budget"
FORMAT_VERSION = 1
WORD_OF = {True: "keeps up", False: "lags", None: "cannot be said"}


def budget_text(bench: Bench, speed: Speed, verdicts: Sequence[Verdict], advice: Sequence[str]) -> list[str]:
    """Return the lines of a budget: what was measured, the verdicts, what limits, what would mend it."""
    found = speed.measured
    spread = "" if len(bench.rounds) == 1 else f" ({found.min / MEGA:.2f} to {found.max / MEGA:.2f})"
    limit = limit_of(bench.stages)
    lines = [
        f"{bench.package.name}, {bench.engine.description}, {bench.workers} workers",
        f"on {volume_words(bench.volume)}",
        f"end to end {found.median / MEGA:.2f} Mvoxel/s of the volume's own voxels{spread}",
        *_caution(bench),
        "",
        *table(_rows(verdicts), left=1),
        "",
        *_unsaid(bench, speed, verdicts),
        f"limit: {LIMIT_WORDS[limit.name]} "
        f"({limit.percent_of_threads.median:.0f} % of the time of its threads)",
    ]
    busy = busy_sentence(bench.load_average, possible_cores())
    if busy is not None:
        lines.append(f"warning: {busy}")
    if advice:
        lines += ["what would mend the lag:", *(f"  - {sentence}" for sentence in advice)]
    return lines


def _caution(bench: Bench) -> list[str]:
    """Say that another voxel size gives another verdict, where the package resamples."""
    if not bench.volume.resampled or bench.volume.voxel_nm is None:
        return []
    return [
        f"for pixels of {bench.volume.voxel_nm[1]:g} nm; others are resampled otherwise: --voxel-nm Z,Y,X"
    ]


def _unsaid(bench: Bench, speed: Speed, verdicts: Sequence[Verdict]) -> list[str]:
    """Say why something cannot be said, and what would tell it."""
    if speed.at_most is None or all(one.keeps_up is not None for one in verdicts):
        return []
    return [
        f"a run took {run_s(bench):.1f} s, in which its beginning and end weigh more than in an acquisition: "
        f"the speed lies between what was measured and that of the network alone, {speed.at_most / MEGA:.2f} "
        "Mvoxel/s; dmn budget PACKAGE VOLUME, with a larger VOLUME, tells more"
    ]


def _rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    header = ("acquisition", "Mvoxel/s", "this machine", "behind after 24 h", "verdict")
    return [header, *(_row(one) for one in verdicts)]


def _row(one: Verdict) -> tuple[str, ...]:
    word = WORD_OF[one.keeps_up]
    return (
        one.acquisition.name,
        f"{one.acquisition.voxels_per_s / MEGA:.2f}",
        f"{one.ratio:.3g} x",
        f"{one.behind_h:.1f} h" if one.behind_h else "-",
        word if one.sure or one.keeps_up is None else f"{word}, barely",
    )


def budget_json(
    bench: Bench, speed: Speed, verdicts: Sequence[Verdict], advice: Sequence[str]
) -> dict[str, Any]:
    """Return a budget as plain JSON values."""
    limit = limit_of(bench.stages)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "machine": asdict(bench.machine),
        "gpus": list(bench.gpus),
        "package": asdict(bench.package),
        "engine": asdict(bench.engine),
        "workers": bench.workers,
        "volume": asdict(bench.volume),
        "measured": bench.measured,
        "quick": bench.quick,
        "load_average": bench.load_average,
        "run_s": run_s(bench),
        "end_to_end_voxels_per_s": asdict(speed.measured),
        "at_most_voxels_per_s": speed.at_most,
        "limit": {"stage": limit.name, "percent_of_threads": limit.percent_of_threads.median},
        "run_h": RUN_H,
        "verdicts": [asdict(one) for one in verdicts],
        "mends": list(advice),
    }
