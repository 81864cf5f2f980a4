"""A measurement that is long enough: beginning and end of a run are no part of an acquisition."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil, isfinite
from pathlib import Path
from tempfile import TemporaryDirectory

from dmn_runtime.bench.measure import BenchOptions, run_bench
from dmn_runtime.bench.phantom_volume import QUICK_SHAPE, VOXEL_NM, write_phantom
from dmn_runtime.bench.result import Bench
from dmn_runtime.budget.verdict import Speed
from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import round_up
from dmn_runtime.plan import BLOCK_SLICES

SECONDS = 10.0
"""Reading, segmenting and writing weigh this much more than the second or so that a run takes besides."""
MOST_SECONDS = 600.0
MOST_SLICES = 1024
"""Of a phantom of 1 Mpixel: 1 GB, which takes a minute to make."""
AMPLE = 1.2
"""A run is laid out for this much more than is wanted."""


def refuse_seconds(seconds: float) -> None:
    """Refuse what is no length of a run.

    Raises:
        UsageError: says what is wanted.
    """
    if not (isfinite(seconds) and 0 < seconds <= MOST_SECONDS):
        raise UsageError(
            f"--seconds {seconds:g} is no length of a run: give seconds above 0, up to {MOST_SECONDS:g}"
        )


def measured(options: BenchOptions, seconds: float, say: Callable[[str], None]) -> Bench:
    """Measure on the user's volume or, where there is none, on a phantom on which a run takes `seconds`.

    A phantom grows to `MOST_SLICES`; how long the runs then were is in the bench.

    Args:
        options: of the measurement.
        seconds: that a run is to take at least.
        say: takes sentences for people.

    Raises:
        DmnError: bad input; nothing is left behind.
    """
    if options.volume is not None:
        return run_bench(options, say)
    bench = on_phantom(options, QUICK_SHAPE[0], say)
    load = bench.load_average
    slices = QUICK_SHAPE[0]
    while run_s(bench) < seconds and slices < MOST_SLICES:
        slices = more_slices(slices, run_s(bench), seconds)
        say(f"a run took {run_s(bench):.1f} s, wanted {seconds:g} s: measuring on {slices} slices")
        # All else was said of the first; the load that it left behind is no load of others.
        bench = replace(on_phantom(options, slices, _unheard), load_average=load)
    return bench


def more_slices(slices: int, took_s: float, wanted_s: float) -> int:
    """Return of how many slices a run that took `took_s` seconds would take `wanted_s`; whole blocks."""
    return min(MOST_SLICES, round_up(ceil(AMPLE * slices * wanted_s / took_s), BLOCK_SLICES))


def on_phantom(options: BenchOptions, slices: int, say: Callable[[str], None]) -> Bench:
    """Measure on a phantom of so many slices."""
    with TemporaryDirectory(prefix="dmn-budget-") as folder:
        path = Path(folder) / "phantom.ome.tif"
        shape = (slices, *QUICK_SHAPE[1:])
        say(f"making a phantom of {' x '.join(map(str, shape))} voxels to measure on")
        write_phantom(path, shape, options.voxel_nm or VOXEL_NM)
        return run_bench(replace(options, volume=str(path)), say)


def run_s(bench: Bench) -> float:
    """Return the seconds of the shortest run end to end."""
    return min(one.end_to_end.wall_s for one in bench.rounds)


def speed_of(bench: Bench, seconds: float) -> Speed:
    """Return how fast a machine is; runs below `seconds` are short."""
    figures = bench.figures
    at_most = None if run_s(bench) >= seconds else figures["network_only_voxels_per_s"].max
    return Speed(figures["end_to_end_voxels_per_s"], at_most)


def _unheard(_: str) -> None:
    """Take what was said of an earlier measurement already."""
