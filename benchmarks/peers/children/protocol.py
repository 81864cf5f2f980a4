"""What every contestant's process does: read its job, warm up, segment, say what it took.

    python CHILD.py JOB.json

A job names the volume (uint8 zyx on the working grid, .npy), the intensity map, the student, the device, the
cores, and either `settings` (measure them) or `choices` (try each on a few slices, measure nothing else).
Loading and warming up are told apart from `seconds`, which runs from the volume in memory to the probability
in memory. NumPy and the standard library alone: every peer's environment has them.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Job = dict[str, Any]
TRIES = 2
"""Of a trial; the faster one counts, so that a hiccup of the machine does not decide for a contestant."""


@dataclass(frozen=True)
class Segmented:
    """What a contestant made of a volume.

    Attributes:
        probability: zyx, float32 (0 to 1) or uint8 (0 to 255).
        seconds: where the contestant has its own stopwatch; else the protocol's counts.
        detail: facts worth keeping, plain JSON.
    """

    probability: NDArray[np.float32] | NDArray[np.uint8]
    seconds: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A contestant that is loaded.

    Attributes:
        segment: takes the volume, uint8 zyx.
        computed_px: pixels that the network computes for one slice, if that is known; may be called after a
            slice has been segmented.
        batch: slices that the network is given at once.
    """

    segment: Callable[[NDArray[np.uint8]], Segmented]
    computed_px: Callable[[], int | None] = lambda: None
    batch: int = 1


Maker = Callable[[dict[str, Any]], Ready]


def main(prepare: Callable[[Job], Maker]) -> None:
    """Do the job that the command line names.

    Args:
        prepare: loads what all settings share, and returns what makes a contestant of settings.
    """
    job: Job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    restrict(job["cores"])
    begin_s = perf_counter()
    make = prepare(job)
    load_s = perf_counter() - begin_s
    volume = np.load(job["volume"])
    if "choices" in job:
        few = volume[: job["few"]]
        result: dict[str, Any] = {"trials": [tried(make, choice, few) for choice in job["choices"]]}
    else:
        result = {"load_s": load_s, **measured(make(job["settings"]), volume, Path(job["probability"]))}
    Path(job["result"]).write_text(json.dumps(result) + "\n", encoding="utf-8")


def restrict(cores: int) -> None:
    """Keep this process to `cores` logical cores, whatever a library would like; before any is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def tried(make: Maker, settings: dict[str, Any], few: NDArray[np.uint8]) -> dict[str, Any]:
    """Time settings on a few slices, after a warm-up; what cannot be done says why."""
    try:
        ready = make(settings)
        computed_px = warm_up(ready, few)
        seconds = min(stopped(ready, few) for _ in range(TRIES))
    except Exception as error:  # a size that the library refuses for this slice is no choice here
        return {"settings": settings, "failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    return {"settings": settings, "seconds": seconds, "computed_px": computed_px}


def warm_up(ready: Ready, volume: NDArray[np.uint8]) -> int | None:
    """Segment batches of every size that will come; return the pixels computed for a slice.

    A compiler makes code for each shape that it meets, which is no part of a measurement.
    """
    sizes = batch_sizes(len(volume), ready.batch)
    ready.segment(volume[: sizes[0]])
    computed_px = ready.computed_px()  # which takes a hook out of the network, so that the first comes again
    for count in sizes:
        ready.segment(volume[:count])
    return computed_px


def batch_sizes(slices: int, batch: int) -> tuple[int, ...]:
    """Return how many slices come at once: full batches and what is left, each size once."""
    return tuple(dict.fromkeys(min(batch, slices - z) for z in range(0, slices, batch)))


def stopped(ready: Ready, few: NDArray[np.uint8]) -> float:
    """Return the seconds that a contestant takes for some slices."""
    begin_s = perf_counter()
    ready.segment(few)
    return perf_counter() - begin_s


def measured(ready: Ready, volume: NDArray[np.uint8], probability: Path) -> dict[str, Any]:
    """Warm up, segment the volume, save its probability, and say what it took."""
    begin_s = perf_counter()
    computed_px = warm_up(ready, volume)
    warm_s = perf_counter() - begin_s
    begin_s = perf_counter()
    made = ready.segment(volume)
    seconds = perf_counter() - begin_s if made.seconds is None else made.seconds
    np.save(probability, made.probability)
    return {
        "seconds": seconds,
        "warm_s": warm_s,
        "computed_px": computed_px,
        "peak_rss_bytes": peak_rss_bytes(),
        "detail": made.detail,
    }


def peak_rss_bytes() -> int | None:
    """Return the largest resident memory of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def table_of(job: Job) -> NDArray[np.float32]:
    """Return the network's input of each grey value, float32 (256,): DMN's intensity map of the volume."""
    table: NDArray[np.float32] = np.asarray(job["table"], np.float32)
    return table
