"""A partial output of another depth: what both have stays, and the end is as if it had always been so."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dmn_runtime.errors import ResumeError
from dmn_runtime.geometry import Region
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.open import open_sink, resize_partial
from dmn_runtime.sink.paths import partial_path

SUFFIXES = [".ome.zarr", ".tif"]


def spec_of(path: Path, depth: int) -> SinkSpec:
    return SinkSpec(path, (depth, 300, 280), (4, 256, 256), (5.0, 5.0, 5.0), ("mitochondrion",), 0.5)


def write(spec: SinkSpec, voxels: NDArray[np.uint8], slabs: range, *, resume: bool) -> None:
    """Write whole slabs of a volume into an output and leave it unfinished."""
    with closing(open_sink(spec, resume=resume)) as sink:
        for z in slabs:
            for y, x in [(0, 0), (0, 256), (256, 0), (256, 256)]:
                stop = (min(4 * z + 4, spec.shape[0]), min(y + 256, 300), min(x + 256, 280))
                region = Region((4 * z, y, x), stop)
                sink.write(region, voxels[region.slices], voxels[region.slices] >> 7)


def finish(spec: SinkSpec) -> dict[str, bytes]:
    with closing(open_sink(spec, resume=True)) as sink:
        sink.finish()
    folder = spec.path.parent
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("depths", [(64, 10), (4, 10), (8, 64, 10), (10, 64, 10)], ids=str)
def test_the_bytes_are_those_of_an_output_that_always_had_the_depth(
    tmp_path: Path, suffix: str, depths: tuple[int, ...]
) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (10, 300, 280), dtype=np.uint8)
    for name in ("resized", "straight"):
        (tmp_path / name).mkdir()
    path = tmp_path / "resized" / f"out{suffix}"
    write(spec_of(path, depths[0]), voxels, range(1), resume=False)
    for depth in depths[1:]:
        resize_partial(spec_of(path, depth))
    write(spec_of(path, 10), voxels, range(1, 3), resume=True)
    straight = tmp_path / "straight" / f"out{suffix}"
    write(spec_of(straight, 10), voxels, range(3), resume=False)
    assert finish(spec_of(path, 10)) == finish(spec_of(straight, 10))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_slabs_beyond_the_new_end_are_gone(tmp_path: Path, suffix: str) -> None:
    voxels = np.full((12, 300, 280), 200, np.uint8)
    for name in ("cut", "straight"):
        (tmp_path / name).mkdir()
    path, straight = tmp_path / "cut" / f"out{suffix}", tmp_path / "straight" / f"out{suffix}"
    write(spec_of(path, 12), voxels, range(3), resume=False)
    resize_partial(spec_of(path, 8))
    write(spec_of(straight, 8), voxels, range(2), resume=False)
    assert finish(spec_of(path, 8)) == finish(spec_of(straight, 8))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_or_other_output_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    spec = spec_of(path, 8)
    write(spec, np.zeros((8, 300, 280), np.uint8), range(1), resume=False)
    if suffix == ".tif":
        with pytest.raises(ResumeError, match="this run writes"):
            resize_partial(replace(spec, shape=(9, 300, 281)))
    damaged = partial_path(path) / ("out.tif" if suffix == ".tif" else "labels/mask/0/zarr.json")
    damaged.write_bytes(b"{")
    with pytest.raises(ResumeError, match="is damaged"):
        resize_partial(spec_of(path, 12))
