"""What the benchmarks share: a package, a volume on disk, and how many workers.

DMN_BENCH_PACKAGE   package to measure (default: demo)
DMN_BENCH_VOLUME    volume to measure on (default: a phantom repeated to 64 slices, written as TIFF)
DMN_BENCH_VOXEL_NM  its voxel size, Z,Y,X, where the file does not say it
DMN_BENCH_ENGINE    engine and precision, as "openvino int8" (default: "cpu fp32")
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.commands.infer import parse_spacing
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom import make_phantom


@pytest.fixture(scope="session")
def package() -> str:
    return os.environ.get("DMN_BENCH_PACKAGE", "demo")


@pytest.fixture(scope="session")
def candidate() -> Candidate:
    engine, precision = os.environ.get("DMN_BENCH_ENGINE", "cpu fp32").split()
    return Candidate(engine, precision)


@pytest.fixture(scope="session")
def voxel_nm() -> Spacing | None:
    words = os.environ.get("DMN_BENCH_VOXEL_NM")
    return None if words is None else parse_spacing("DMN_BENCH_VOXEL_NM", words)


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("DMN_BENCH_VOLUME")
    if named is not None:
        return Path(named)
    path = tmp_path_factory.mktemp("volume") / "phantom.tif"
    slab = make_phantom((8, 1024, 1024), seed=1, voxel_nm=5.0, regime="sstem").image
    metadata = {"axes": "ZYX"}
    for axis, nm in zip("ZYX", (50.0, 5.0, 5.0), strict=True):
        metadata |= {f"PhysicalSize{axis}": nm, f"PhysicalSize{axis}Unit": "nm"}
    tifffile.imwrite(
        path,
        np.tile(slab, (8, 1, 1)),
        ome=True,
        metadata=metadata,
        compression="zlib",
        predictor=True,
        photometric="minisblack",
    )
    return path
