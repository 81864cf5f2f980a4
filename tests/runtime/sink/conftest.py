"""Blocks of made-up probabilities and the ways to look at an output's bytes."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.block import block_at

SHAPE: Triple = (5, 600, 300)
BLOCK: Triple = (4, 256, 256)


def blocks_of(spec: SinkSpec) -> Iterator[Region]:
    """Yield every block of `spec`, in C order."""
    for start in product(*(range(0, n, b) for n, b in zip(spec.shape, spec.block, strict=True))):
        yield block_at(spec, start)


def make_probability(shape: Triple, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below `folder`, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(params=["out.ome.zarr", "out.tif"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path of each kind of output."""
    return tmp_path / request.param


@pytest.fixture
def make_spec() -> Callable[..., SinkSpec]:
    """Return a maker of specifications."""

    def make(
        path: Path, shape: Triple = SHAPE, block: Triple = BLOCK, voxel_nm: Spacing | None = (8.0, 4.0, 4.0)
    ) -> SinkSpec:
        return SinkSpec(path, shape, block, voxel_nm, ("mitochondria",), 0.5)

    return make
