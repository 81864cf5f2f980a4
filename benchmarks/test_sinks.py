"""The sinks: one block, a whole output, its last step, and the arithmetic of the pyramid.

    .venv/bin/python -m pytest benchmarks/test_sinks.py --basetemp FOLDER

Every block is brought to the disk before `write` returns (fsync), so the disk below FOLDER is measured too;
without --basetemp it is the folder for temporary files. The levels of the OME-Zarr pyramid are written block
by block: `whole output` has them all, and `finish` is only the move to the final path.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from math import prod
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.geometry import Region
from dmn_runtime.plan import make_plan
from dmn_runtime.sink.base import Sink, SinkSpec
from dmn_runtime.sink.open import open_sink
from dmn_runtime.sink.pyramid import mean_levels, nearest_levels, plan_pyramid
from dmn_runtime.tiles import mask_of

from .material import SIZE, VOXEL_NM, carry, probability

ENDINGS = {"OME-Zarr": ".ome.zarr", "TIFF": ".tif"}
THRESHOLD = 0.5
VOXELS = prod(SIZE.volume)
LEVELS = len(plan_pyramid(SIZE.volume, SIZE.block, VOXEL_NM))

Fresh = Callable[[], Sink]


@pytest.fixture(params=ENDINGS)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """Return a function that begins another output each time; all are closed at the end."""
    numbers, begun = count(), []

    def begin() -> Sink:
        path = tmp_path / f"{next(numbers)}{ENDINGS[request.param]}"
        spec = SinkSpec(path, SIZE.volume, SIZE.block, VOXEL_NM, ("mitochondrion",), THRESHOLD)
        begun.append(open_sink(spec, resume=False))
        return begun[-1]

    yield begin
    for sink in begun:
        sink.close()


def regions() -> list[Region]:
    plan = make_plan(SIZE.volume, VOXEL_NM, None, SIZE.footprint, block=SIZE.block)
    return [block.output for block in plan.blocks()]


def contents(region: Region) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return probabilities and mask of a block, each an array of its own, as a run has them."""
    found = np.ascontiguousarray(probability(SIZE.volume)[region.slices])
    return found, mask_of(found, THRESHOLD)


def written(sink: Sink, blocks: list[tuple[Region, NDArray[np.uint8], NDArray[np.uint8]]]) -> Sink:
    for region, found, mask in blocks:
        sink.write(region, found, mask)
    return sink


@pytest.mark.benchmark(group="sinks: one block, on the disk")
def test_one_block(benchmark: BenchmarkFixture, fresh: Fresh) -> None:
    blocks = [(region, *contents(region)) for region in regions()]
    sink, turn = fresh(), iter(blocks)
    # Every round writes the next block: a place that was never written costs what it costs in a run.
    benchmark.pedantic(sink.write, setup=lambda: (next(turn), {}), rounds=len(blocks))
    carry(benchmark, VOXELS // len(blocks), blocks=len(blocks))


@pytest.mark.benchmark(group="sinks: a whole output, pyramid and finish included")
def test_whole_output(benchmark: BenchmarkFixture, fresh: Fresh) -> None:
    blocks = [(region, *contents(region)) for region in regions()]

    def whole() -> None:
        with closing(fresh()) as sink:
            written(sink, blocks).finish()

    benchmark.pedantic(whole, rounds=SIZE.rounds)
    carry(benchmark, VOXELS, blocks=len(blocks), levels=LEVELS)


@pytest.mark.benchmark(group="sinks: finish alone")
def test_finish(benchmark: BenchmarkFixture, fresh: Fresh) -> None:
    blocks = [(region, *contents(region)) for region in regions()]

    def ready() -> tuple[tuple[Sink], dict[str, object]]:
        return (written(fresh(), blocks),), {}

    benchmark.pedantic(lambda sink: sink.finish(), setup=ready, rounds=min(3, SIZE.rounds))
    carry(benchmark, VOXELS, blocks=len(blocks), levels=LEVELS)


@pytest.mark.benchmark(group="sinks: the pyramid of one block, in memory")
@pytest.mark.parametrize("levels_of", [mean_levels, nearest_levels])
def test_pyramid(
    benchmark: BenchmarkFixture,
    levels_of: Callable[..., Iterator[NDArray[np.uint8]]],
) -> None:
    region = regions()[0]
    found, mask = contents(region)
    block = found if levels_of is mean_levels else mask
    levels = plan_pyramid(SIZE.volume, SIZE.block, VOXEL_NM)
    # Levels may be views, which cost nothing until somebody reads them, as the sink does.
    made = benchmark(lambda: [np.ascontiguousarray(level) for level in levels_of(block, levels)])
    carry(benchmark, region.size, levels=len(made))
