"""The kernels alone on a processor: gather and scatter on real tiles."""

from collections.abc import Callable, Sequence
from time import perf_counter

from dmn_runtime.bench.clocked import Seconds, rate_of
from dmn_runtime.bench.gathered import Gathered
from dmn_runtime.bench.rounds import Rate
from dmn_runtime.engines.base import Tiles
from dmn_runtime.plan import Footprint
from dmn_runtime.tiles import crop, gather, scatter
from dmn_runtime.volume.base import Voxels


def time_gather(gathered: Gathered, workers: int, window_s: float, seconds: Seconds = perf_counter) -> Rate:
    """Return the speed of `tiles.gather`; bytes are the grey values read and the input written."""

    def call(patch: Voxels) -> Callable[[], tuple[int, int]]:
        def once() -> tuple[int, int]:
            tiles = gather(patch, gathered.table, gathered.footprint.context_slices)
            return tiles[:, 0].size, patch.nbytes + tiles.nbytes

        return once

    return rate_of([call(patch) for patch in gathered.patches], workers, window_s, seconds)


def time_scatter(
    logits: Sequence[Tiles],
    footprint: Footprint,
    workers: int,
    window_s: float,
    seconds: Seconds = perf_counter,
) -> Rate:
    """Return the speed of `tiles.scatter`; bytes are the core's logits read and the probability written."""

    def call(one: Tiles) -> Callable[[], tuple[int, int]]:
        def once() -> tuple[int, int]:
            probability = scatter(one, footprint.halo_px)
            return one[:, 0].size, crop(one, footprint.halo_px).nbytes + probability.nbytes

        return once

    return rate_of([call(one) for one in logits], workers, window_s, seconds)
