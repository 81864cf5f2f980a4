"""Peak memory of `dmn infer` on a small and on a large volume, each in a process of its own.

.venv/bin/python benchmarks/memory.py FOLDER [--package demo] [--voxel-nm 50,5,5] ...

The volumes are uncompressed TIFF stacks of 2048 x 2048 slices (24 slices are 101 MB, 1000 are 4.2 GB), made
of one phantom slab repeated; FOLDER needs room for the large one and its output. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

from dmn_runtime.phantom import make_phantom

EDGE_PX = 2048


def write_volume(path: Path, slices: int) -> None:
    """Write a stack of `slices` slices, one at a time."""
    slab = np.tile(make_phantom((8, 1024, 1024), seed=3, voxel_nm=5.0, regime="sstem").image, (1, 2, 2))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for z in range(slices):
            writer.write(slab[z % len(slab)], contiguous=True, photometric="minisblack")


def measure(package: str, volume: Path, output: Path, voxel_nm: str) -> dict[str, object]:
    """Run `dmn infer` and return what matters of its report."""
    words = [package, str(volume), "-o", str(output), "--voxel-nm", voxel_nm, "--overwrite", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "dmn_runtime", "infer", *words], stdout=subprocess.PIPE, check=True
    )
    report = json.loads(done.stdout)
    return {
        "volume_bytes": volume.stat().st_size,
        "peak_rss_mib": report["peak_rss_bytes"] / 2**20,
        "wall_s": report["wall_s"],
        "mvoxel_per_s": report["voxels_per_s"] / 1e6,
        "workers": report["workers"],
        "cpu": report["machine"]["cpu"],
    }


def main() -> None:
    """Measure both and print them with their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--package", default="demo")
    parser.add_argument("--voxel-nm", default="50,5,5", help="Z,Y,X that the volumes are said to have")
    parser.add_argument("--small-slices", type=int, default=24)
    parser.add_argument("--large-slices", type=int, default=1000)
    given = parser.parse_args()
    results = {}
    for name, slices in (("small", given.small_slices), ("large", given.large_slices)):
        volume = given.folder / f"{name}.tif"
        write_volume(volume, slices)
        results[name] = measure(given.package, volume, given.folder / f"{name}.ome.zarr", given.voxel_nm)
        volume.unlink()
    ratio = results["large"]["peak_rss_mib"] / results["small"]["peak_rss_mib"]
    print(json.dumps({**results, "peak_rss_ratio": ratio}, indent=2))


if __name__ == "__main__":
    main()
