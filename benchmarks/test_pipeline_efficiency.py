"""End to end against the network alone, on the same tiles, pair by pair.

Network alone: the workers' threads run the bare network over all tiles of the volume, already gathered
in memory. End to end: `infer`, from the TIFF on disk to the finished OME-Zarr with pyramid, report and
preview. The two alternate, so that a drifting machine spoils neither; the ratio of each pair is what counts.

    make bench          or: .venv/bin/python -m pytest benchmarks/test_pipeline_efficiency.py -q -s
"""

import statistics
import threading
from math import prod
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import kind_of
from dmn_runtime.engines.examination import Wish, order_for
from dmn_runtime.geometry import Spacing
from dmn_runtime.inference import Watch, infer
from dmn_runtime.machine import logical_cores
from dmn_runtime.normalise import map_volume
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Footprint, make_plan
from dmn_runtime.setup import Options
from dmn_runtime.source import read_working
from dmn_runtime.tiles import gather
from dmn_runtime.volume.open import open_volume

PAIRS = 3
SILENT = Watch(say=lambda _: None, begin=lambda _: None, advance=lambda _: None)


def gathered(
    package: str, volume: Path, voxel_nm: Spacing | None, candidate: Candidate, workers: int
) -> tuple[Runner, list[np.ndarray], int]:
    """Return the bare network, every tile as network input, and the voxels of the volume."""
    contract = open_package(resolve_package(package)).contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    with open_volume(volume, voxel_nm=voxel_nm) as source:
        plan = make_plan(source.shape, source.voxel_nm or (1, 1, 1), contract.working_voxel_nm, footprint)
        table = map_volume(source, contract.normalisation).table(source.dtype)
        tiles = []
        for block in plan.blocks():
            patch = read_working(source.read, plan, block.read)
            for tile in block.tiles:
                read = tile.read(footprint).relative_to(block.read.start)
                tiles.append(gather(patch[read.slices], table, footprint.context_slices))
        order = order_for(open_package(resolve_package(package)), candidate, Wish(workers=workers), print)
        return kind_of(candidate.engine).open(order), tiles, prod(source.shape)


def network_only(runner: Runner, tiles: list[np.ndarray], workers: int) -> float:
    """Return the seconds that `workers` threads take for all tiles."""
    todo: SimpleQueue[np.ndarray] = SimpleQueue()
    for tile in tiles:
        todo.put(tile)

    def work() -> None:
        while True:
            try:
                runner.run(todo.get_nowait())
            except Empty:
                return

    threads = [threading.Thread(target=work) for _ in range(workers)]
    begin = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return perf_counter() - begin


@pytest.mark.parametrize("workers", sorted({1, logical_cores()}))
def test_end_to_end_against_network_only(
    benchmark: BenchmarkFixture,
    package: str,
    volume: Path,
    voxel_nm: Spacing | None,
    candidate: Candidate,
    workers: int,
    tmp_path: Path,
) -> None:
    runner, tiles, voxels = gathered(package, volume, voxel_nm, candidate, workers)
    network_s: list[float] = []
    end_to_end_s: list[float] = []
    options = Options(
        package=package,
        volume=str(volume),
        output=tmp_path / "seg.ome.zarr",
        voxel_nm=voxel_nm,
        workers=workers,
        engine=candidate.engine,
        precision=candidate.precision,
        overwrite=True,
    )

    def run() -> None:
        begin = perf_counter()
        infer(options, SILENT)
        end_to_end_s.append(perf_counter() - begin)

    network_only(runner, tiles, workers)
    infer(options, SILENT)  # the first run of a package examines its engines
    benchmark.pedantic(
        run,
        setup=lambda: network_s.append(network_only(runner, tiles, workers)),
        rounds=PAIRS,
        warmup_rounds=0,
    )
    ratios = [alone / whole for alone, whole in zip(network_s, end_to_end_s, strict=True)]
    benchmark.extra_info |= {
        "package": package,
        "engine": str(candidate),
        "workers": workers,
        "voxels": voxels,
        "network_only_mvoxel_per_s": voxels / statistics.median(network_s) / 1e6,
        "end_to_end_mvoxel_per_s": voxels / statistics.median(end_to_end_s) / 1e6,
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }
    print(
        f"\n{workers} workers: network only {voxels / statistics.median(network_s) / 1e6:.2f}, end to end "
        f"{voxels / statistics.median(end_to_end_s) / 1e6:.2f} Mvoxel/s, ratio median "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, {PAIRS} pairs)"
    )
