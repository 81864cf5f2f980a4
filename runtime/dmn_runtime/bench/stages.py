"""Which stage of a run holds up the others: pure arithmetic on the busy seconds of its rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

from dmn_runtime.bench.figure import Figure, figure_of
from dmn_runtime.bench.rounds import EndToEnd
from dmn_runtime.stream import Threads

KIND_OF = {
    "read": "reader",
    "resample": "reader",
    "gather": "worker",
    "network": "worker",
    "scatter": "worker",
    "stage": "worker",
    "device": "worker",
    "assemble": "writer",
    "write": "writer",
}
"""Stage -> the threads that do it, in the order of the stream."""


@dataclass(frozen=True)
class Stage:
    """One stage: busy seconds summed over its threads, and how much of those threads' time that is."""

    name: str
    kind: str
    threads: int
    busy_s: Figure
    percent_of_threads: Figure


def stages_of(runs: Sequence[EndToEnd], threads: Threads) -> tuple[Stage, ...]:
    """Return the stages that every run had, in the order of the stream.

    Args:
        runs: at least one.
        threads: how many of each kind the runs had.
    """
    count = {"reader": threads.readers, "worker": threads.workers, "writer": threads.writers}
    names = [name for name in KIND_OF if all(name in run.busy_s for run in runs)]
    return tuple(
        Stage(
            name,
            KIND_OF[name],
            count[KIND_OF[name]],
            figure_of(run.busy_s[name] for run in runs),
            figure_of(100.0 * run.busy_s[name] / (count[KIND_OF[name]] * run.wall_s) for run in runs),
        )
        for name in names
    )


def limit_of(stages: Sequence[Stage]) -> Stage:
    """Return the stage that holds up the others: the longest one of those threads that rest least.

    The stages of one kind of thread come one after another, so their shares add up; threads of different
    kinds work side by side, and all wait for those that never rest.
    """
    load: dict[str, float] = {}
    for stage in stages:
        load[stage.kind] = load.get(stage.kind, 0.0) + stage.percent_of_threads.median
    busiest = max(load, key=lambda kind: load[kind])
    return max((one for one in stages if one.kind == busiest), key=lambda one: one.percent_of_threads.median)
