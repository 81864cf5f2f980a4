"""End to end against the network alone, on the same tiles, pair by pair.

Network alone: the workers' threads run the bare network over all tiles of the volume, already gathered
in memory. End to end: `infer`, from the TIFF on disk to the finished OME-Zarr with pyramid, report and
preview, without choosing the engine, as its report has it. The two alternate, so that a drifting machine
spoils neither; the ratio of each pair is what counts.

    make bench          or: .venv/bin/python -m pytest benchmarks/test_pipeline_efficiency.py -q -s
"""

import statistics
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.bench.clocked import seconds_for_all
from dmn_runtime.bench.gathered import Gathered, gather_tiles
from dmn_runtime.bench.measure import SILENT
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import kind_of
from dmn_runtime.engines.examination import Wish, order_for
from dmn_runtime.geometry import Spacing
from dmn_runtime.inference import infer
from dmn_runtime.machine import logical_cores
from dmn_runtime.normalise import map_volume
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Footprint, make_plan
from dmn_runtime.setup import Options
from dmn_runtime.volume.open import open_volume

PAIRS = 3


def gathered(
    package: str, volume: Path, voxel_nm: Spacing | None, candidate: Candidate, workers: int
) -> tuple[Runner, Gathered]:
    """Return the bare network, and every tile as network input."""
    opened = open_package(resolve_package(package))
    contract = opened.contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    with open_volume(volume, voxel_nm=voxel_nm) as source:
        plan = make_plan(source.shape, source.voxel_nm or (1, 1, 1), contract.working_voxel_nm, footprint)
        table = map_volume(source, contract.normalisation).table(source.dtype)
        tiles = gather_tiles(source.read, plan, table, most_bytes=sys.maxsize)
    order = order_for(opened, candidate, Wish(workers=workers), print)
    return kind_of(candidate.engine).open(order), tiles


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
    runner, found = gathered(package, volume, voxel_nm, candidate, workers)
    network_s: list[float] = []
    end_to_end_s: list[float] = []
    outputs = (tmp_path / f"seg{number}.ome.zarr" for number in count())
    options = Options(
        package=package,
        volume=str(volume),
        output=next(outputs),
        voxel_nm=voxel_nm,
        workers=workers,
        engine=candidate.engine,
        precision=candidate.precision,
    )

    voxels = found.extent.voxels

    def network_only() -> float:
        return seconds_for_all(found.tiles, runner.run, workers)

    def run() -> None:
        # Each run writes a new output: to delete a former one is no part of it.
        report = infer(replace(options, output=next(outputs)), SILENT)
        assert report is not None
        end_to_end_s.append(report.wall_s)

    network_only()
    infer(options, SILENT)  # the first run of a package examines its engines
    benchmark.pedantic(
        run,
        setup=lambda: network_s.append(network_only()),
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
