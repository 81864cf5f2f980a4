"""What the benchmarks share: a package, a volume on disk, and how many workers.

DMN_BENCH_PACKAGE   package to measure (default: demo)
DMN_BENCH_VOLUME    volume to measure on (default: that of dmn bench, a phantom of 64 slices)
DMN_BENCH_VOXEL_NM  its voxel size, Z,Y,X, where the file does not say it
DMN_BENCH_ENGINE    engine and precision, as "openvino int8" (default: "cpu fp32")
"""

import os
from pathlib import Path

import pytest

from dmn_runtime.bench.phantom_volume import SHAPE, write_phantom
from dmn_runtime.commands.infer import parse_spacing
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.geometry import Spacing


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
    write_phantom(path, SHAPE)
    return path
