"""Do packages of adapted runs infer at the speed of the source-only one?

.venv/bin/python benchmarks/same_speed.py BASE.zip OTHER.zip... --rounds 15

Times the bare network of each package on one tile of random grey values, one thread. The packages take turns
within a round, so that a drifting machine spoils none. Prints the speed of each, and its time over that of
BASE in the same round, as median and range.
"""

import argparse
import statistics
from pathlib import Path
from time import perf_counter

import numpy as np

from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.engines.host import HostEngine
from dmn_runtime.package import open_package
from dmn_runtime.plan import TILE_EDGE_PX, Footprint


def opened(path: Path) -> tuple[HostEngine, np.ndarray]:
    """Return a package's engine and a tile of network input, nchw float32."""
    package = open_package(path)
    contract = package.contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    table = np.linspace(-1.0, 1.0, 256, dtype=np.float32)
    edge = TILE_EDGE_PX + 2 * footprint.halo_px
    grey = np.random.default_rng(0).integers(0, 256, (1, contract.in_channels, edge, edge))
    return open_cpu_engine(package.network(), table, footprint), table[grey]


def main() -> None:
    """Time every package and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    engines = {path.stem: opened(path) for path in given.packages}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(given.rounds + 1):
        for name, (engine, tile) in engines.items():
            begun = perf_counter()
            engine.logits(tile)
            if turn:  # the first round warms up
                seconds[name].append(perf_counter() - begun)
    base = seconds[next(iter(engines))]
    print("| package | bytes | working Mvoxel/s, median | time over the first's, median (range) |")
    print("|---|---|---|---|")
    for path, (name, times) in zip(given.packages, seconds.items(), strict=True):
        ratios = [mine / theirs for mine, theirs in zip(times, base, strict=True)]
        speed = TILE_EDGE_PX * TILE_EDGE_PX / 1e6 / statistics.median(times)
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
        print(f"| {name} | {path.stat().st_size} | {speed:.2f} | {spread} |")


if __name__ == "__main__":
    main()
