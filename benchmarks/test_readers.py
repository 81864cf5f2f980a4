"""The readers: a block as the stream asks for it, and a walk over a whole volume, format by format.

    .venv/bin/python -m pytest benchmarks/test_readers.py

The files were written a moment ago and lie in the system's file cache: to empty it takes root rights. So this
measures decoding and copying, not the disk. The volume is opened anew in every round, so that DMN's own cache
of decoded strips and slices is empty at its beginning.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
import zarr
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from zarr.codecs import ZstdCodec

from dmn_runtime.geometry import Region
from dmn_runtime.plan import Plan, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.open import open_volume

from .material import SIZE, VOXEL_NM, carry, tissue

CHUNK_PX = min(256, SIZE.tile_px)
STRIP_PX = 16
WORKING_NM = {"own grid": None, "coarser grid": 10.0, "finer grid": 4.0}


def tiff(**options: Any) -> Callable[[Path, Voxels], Path]:
    def write(folder: Path, voxels: Voxels) -> Path:
        # Slice by slice: written at once, an uncompressed stack would be one piece without strips.
        with tifffile.TiffWriter(folder / "stack.tif") as writer:
            for one in voxels:
                writer.write(one, metadata=None, photometric="minisblack", contiguous=False, **options)
        return folder / "stack.tif"

    return write


def png_folder(folder: Path, voxels: Voxels) -> Path:
    for z, one in enumerate(voxels):
        Image.fromarray(one).save(folder / f"slice_{z}.png", compress_level=1)
    return folder


def ome_zarr(folder: Path, voxels: Voxels) -> Path:
    scale = [{"type": "scale", "scale": list(VOXEL_NM)}]
    image = {
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group = zarr.create_group(
        folder / "v.zarr", attributes={"ome": {"version": "0.5", "multiscales": [image]}}
    )
    chunks = (SIZE.block[0], CHUNK_PX, CHUNK_PX)
    group.create_array("0", data=voxels, chunks=chunks, compressors=ZstdCodec())
    return folder / "v.zarr"


def hdf5(folder: Path, voxels: Voxels) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install 'dmn-em[hdf5]'")
    chunks = (SIZE.block[0], CHUNK_PX, CHUNK_PX)
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_dataset("grey", data=voxels, chunks=chunks, compression="gzip", compression_opts=4)
    return folder / "v.h5"


def mrc(folder: Path, voxels: Voxels) -> Path:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile is not installed: pip install 'dmn-em[mrc]'")
    with mrcfile.new(folder / "v.mrc") as file:
        file.set_data((voxels ^ 128).view("int8"))  # bytes of mode 0 are signed
    return folder / "v.mrc"


FORMATS: dict[str, Callable[[Path, Voxels], Path]] = {
    "TIFF strips": tiff(rowsperstrip=STRIP_PX),
    "TIFF tiled": tiff(tile=(CHUNK_PX, CHUNK_PX)),
    "TIFF strips zlib": tiff(rowsperstrip=STRIP_PX, compression="zlib", predictor=True),
    "TIFF tiled zlib": tiff(tile=(CHUNK_PX, CHUNK_PX), compression="zlib", predictor=True),
    "PNG folder": png_folder,
    "OME-Zarr": ome_zarr,
    "HDF5 gzip": hdf5,
    "MRC": mrc,
}


@pytest.fixture(scope="module", params=FORMATS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the volume in one format."""
    path = FORMATS[request.param](tmp_path_factory.mktemp("stored"), tissue(SIZE.volume))
    with open_volume(path, voxel_nm=VOXEL_NM) as volume:
        assert volume.shape == SIZE.volume
    return path


def planned(working_nm: float | None = None) -> Plan:
    return make_plan(
        SIZE.volume, VOXEL_NM, working_nm, SIZE.footprint, tile_px=SIZE.tile_px, block=SIZE.block
    )


@pytest.mark.benchmark(group="readers: one block with halo and context, opened anew")
def test_one_block(benchmark: BenchmarkFixture, stored: Path) -> None:
    plan = planned()
    block = plan.block_at(len(plan) // 2)

    def read() -> Voxels:
        with open_volume(stored, voxel_nm=VOXEL_NM) as volume:
            return read_working(volume.read, plan, block.read)

    assert read().shape == block.read.shape
    benchmark.pedantic(read, rounds=SIZE.rounds)
    carry(benchmark, block.output.size, file_bytes=bytes_of(stored))


@pytest.mark.benchmark(group="readers: all blocks of a volume in turn")
def test_walk(benchmark: BenchmarkFixture, stored: Path) -> None:
    plan = planned()

    def walk() -> None:
        with open_volume(stored, voxel_nm=VOXEL_NM) as volume:
            for block in plan.blocks():
                read_working(volume.read, plan, block.read)

    benchmark.pedantic(walk, rounds=min(3, SIZE.rounds))
    z, y, x = SIZE.volume
    carry(benchmark, z * y * x, blocks=len(plan), file_bytes=bytes_of(stored))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("grid", WORKING_NM)
def test_working_grid(benchmark: BenchmarkFixture, grid: str, dtype: str) -> None:
    benchmark.group = f"readers: a block from memory to the working grid, {dtype}"
    plan, voxels = planned(WORKING_NM[grid]), tissue(SIZE.volume, dtype)
    block = plan.block_at(0)  # at a corner, where three sides are mirrored

    def copied(region: Region) -> Voxels:
        return voxels[region.slices].copy()

    benchmark.pedantic(lambda: read_working(copied, plan, block.read), rounds=SIZE.rounds, warmup_rounds=1)
    carry(benchmark, block.output.size, working_voxels=block.read.size)


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
