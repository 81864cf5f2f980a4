"""Precision x engine x student: the same segmentation? how fast, alone and end to end?

.venv/bin/python benchmarks/engines.py VOLUME --voxel-nm 50,4.6,4.6 PACKAGE.zip... [--json FILE] [--dry-run]

For every engine and precision that this machine can run, and for every package: parity with the trained
network on the package's golden tiles; on tiles of VOLUME, parity with cpu fp32; voxels per second of the bare
network on the working grid with one worker and with two, engines in turns; and `dmn infer` of VOLUME to
OME-Zarr with two workers, engines in turns. Medians with ranges. Prints Markdown. --dry-run says what would
be measured here, and why the other engines cannot be.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from dmn_runtime.certificate.golden import Golden, read_golden
from dmn_runtime.certificate.stack_tiles import stack_tiles
from dmn_runtime.commands.infer import parse_spacing
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.candidates import Candidate, candidates
from dmn_runtime.engines.catalogue import absences_here, kinds_here
from dmn_runtime.engines.examination import Wish, opened, order_for, timed_tile
from dmn_runtime.engines.trial import Trial, examine, probabilities, timed
from dmn_runtime.engines.verify import REFERENCE
from dmn_runtime.errors import DmnError
from dmn_runtime.inference import Watch, infer
from dmn_runtime.machine import cpu_model
from dmn_runtime.package import Package, open_package
from dmn_runtime.setup import Options
from dmn_runtime.volume.open import open_volume

MEGA = 1e6


@dataclass(frozen=True)
class Row:
    """One line of the table; speeds in voxels per second, every round."""

    package: str
    candidate: Candidate
    golden: Trial
    volume: Trial
    one_worker: list[float]
    two_workers: list[float]
    end_to_end: list[float]


def quiet(_: str) -> None:
    """Say nothing."""


def runners_of(package: Package, workers: int) -> dict[Candidate, Runner]:
    """Open everything that this machine can run."""
    absences = absences_here()
    wish = Wish(workers=workers)
    found = {
        one: opened(one, order_for(package, one, wish, quiet))
        for one in candidates(kinds_here(), absences, package.contract.precisions)
    }
    return {one: runner for one, runner in found.items() if not isinstance(runner, DmnError)}


def speeds(package: Package, golden: Golden, workers: int, rounds: int) -> dict[Candidate, list[float]]:
    """Time the bare networks in turns."""
    runners = runners_of(package, workers)
    wish = Wish(workers=workers)
    tiles = {one: timed_tile(golden, order_for(package, one, wish, quiet), one) for one in runners}
    found: dict[Candidate, list[float]] = {one: [] for one in runners}
    for _ in range(rounds):
        for one, speed in timed(runners, tiles, workers).items():
            assert isinstance(speed, float), speed
            found[one].append(speed)
    return found


def end_to_end(options: Options) -> float:
    """Run `dmn infer` and return its output voxels per second."""
    report = infer(options, Watch(quiet, lambda _: None, lambda _: None))
    assert report is not None
    return report.voxels_per_s


def rows_of(path: Path, volume_path: str, voxel: str, rounds: int, folder: Path) -> list[Row]:
    """Measure one package."""
    package = open_package(path)
    golden, voxel_nm = read_golden(package), parse_spacing("--voxel-nm", voxel)
    with open_volume(volume_path, voxel_nm=voxel_nm) as volume:
        tiles = stack_tiles(volume, package.contract, voxel_nm, golden.tiles.shape[-1])
    runners = runners_of(package, 1)
    own = Golden(tiles, probabilities(runners[REFERENCE], tiles, package.contract.halo_px))
    parity = {
        one: (examine(package.contract, one, r, golden), examine(package.contract, one, r, own))
        for one, r in runners.items()
    }
    one_worker, two_workers = (speeds(package, golden, workers, rounds) for workers in (1, 2))
    whole: dict[Candidate, list[float]] = {one: [] for one in runners}
    for turn in range(rounds + 1):
        for one in runners:
            # A new output each time: to delete a former one is no part of a run.
            output = folder / f"{path.stem}-{one.engine}-{one.precision}-{turn}.ome.zarr"
            options = Options(
                str(path), volume_path, output, voxel_nm,
                workers=2, engine=one.engine, precision=one.precision,
            )  # fmt: skip
            speed = end_to_end(options)
            if turn:  # the first round examines
                whole[one].append(speed)
    return [
        Row(path.stem, one, *parity[one], one_worker[one], two_workers[one], whole[one]) for one in runners
    ]


def shown(values: list[float]) -> str:
    """Return the median with the range, in millions."""
    millions = [value / MEGA for value in values]
    return f"{statistics.median(millions):.2f} ({min(millions):.2f}-{max(millions):.2f})"


def intentions(paths: list[Path]) -> list[str]:
    """Say what would be measured on this machine, and what not and why."""
    absences = absences_here()
    lines = [
        f"{path.stem}: {one}"
        for path in paths
        for one in candidates(kinds_here(), absences, open_package(path).contract.precisions)
    ]
    return lines + [f"not here: {word}: {why}" for word, why in absences.items() if why is not None]


def line(row: Row, rows: list[Row]) -> str:
    """Return a row of the Markdown table; `x` is over fp32 by the same engine, one worker."""
    [base] = [
        other for other in rows if other.package == row.package and other.candidate == fp32_of(row.candidate)
    ]
    ratio = statistics.median(
        mine / theirs for mine, theirs in zip(row.one_worker, base.one_worker, strict=True)
    )
    assert row.golden.parity is not None
    assert row.volume.parity is not None
    golden, volume = row.golden.parity, row.volume.parity
    return (
        f"| {row.package} | {row.candidate.engine} | {row.candidate.precision} "
        f"| {golden.iou_change:.4f} | {golden.max_dp:.1e} | {volume.iou_change:.4f} | {volume.max_dp:.1e} "
        f"| {volume.objects_matched} of {volume.objects} | {shown(row.one_worker)} | {ratio:.2f} "
        f"| {shown(row.two_workers)} | {shown(row.end_to_end)} |"
    )


def fp32_of(candidate: Candidate) -> Candidate:
    """Return fp32 by the same engine."""
    return Candidate(candidate.engine, "fp32")


def main() -> None:
    """Measure every package and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volume")
    parser.add_argument("packages", nargs="+", type=Path)
    parser.add_argument("--voxel-nm", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    if given.dry_run:
        print("\n".join(intentions(given.packages)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for path in given.packages
            for row in rows_of(path, given.volume, given.voxel_nm, given.rounds, Path(folder))
        ]
    print(f"{cpu_model()}; {given.rounds} rounds")
    print(
        "| package | engine | precision | golden: IoU change | max dp | volume: IoU change | max dp "
        "| objects | one worker, Mvoxel/s | x fp32 | two workers | end to end |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(line(row, rows))
    for path in given.packages:
        print(f"{path.stem}: {path.stat().st_size / MEGA:.2f} MB")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
