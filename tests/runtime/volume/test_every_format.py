"""The promises of `Volume`, held by every format: one array is written in each and read back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import mrcfile
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from zarr.codecs import ZstdCodec

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, whole
from dmn_runtime.volume.open import open_volume

SHAPE = (5, 37, 71)
DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


ZSTD = {"0.4": numcodecs.Zstd(), "0.5": ZstdCodec()}


def grey(dtype: np.dtype, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, SHAPE, dtype, endpoint=True)


def tiff(**options: object) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, array: np.ndarray) -> str:
        tifffile.imwrite(folder / "v.tif", array, photometric="minisblack", **options)
        return str(folder / "v.tif")

    return write


def tiff_page_by_page(folder: Path, array: np.ndarray) -> str:
    """Write what a plain writer leaves: no description, each page on its own."""
    with tifffile.TiffWriter(folder / "v.tif") as writer:
        for image in array:
            writer.write(image, metadata=None, photometric="minisblack", rowsperstrip=5, contiguous=False)
    return str(folder / "v.tif")


def tiff_folder(**options: object) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, array: np.ndarray) -> str:
        for z, image in enumerate(array):
            tifffile.imwrite(folder / f"slice_{z + 8}.tif", image, **options)
        (folder / "notes.txt").write_text("ignored")
        return str(folder)

    return write


def png_folder(folder: Path, array: np.ndarray) -> str:
    for z, image in enumerate(array):
        Image.fromarray(image).save(folder / f"slice_{z + 8}.png")
    return str(folder)


def plain_zarr(zarr_format: int, **options: object) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, array: np.ndarray) -> str:
        path = folder / "v.zarr"
        made = zarr.create_array(
            path, shape=array.shape, dtype=array.dtype, zarr_format=zarr_format, **options
        )
        made[...] = array
        return str(path)

    return write


def zarr_inside(folder: Path, array: np.ndarray) -> str:
    group = zarr.open_group(folder / "v.zarr", mode="w")
    group.create_array("a/grey", data=array, chunks=(2, 16, 16))
    group.create_array("b", data=array[::-1], chunks=(2, 16, 16))
    return f"{folder / 'v.zarr'}::a/grey"


def ome_zarr(version: str) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, array: np.ndarray) -> str:
        group = zarr.open_group(folder / "v.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
        # Zstandard, not Blosc: numcodecs hands a cut Blosc chunk on as if it were whole (docs/volumes.md).
        options = {"chunks": (1, 1, 3, 16, 16), "compressors": ZSTD[version]}
        group.create_array("0", data=array[None, None], **options)
        group.create_array("1", data=array[None, None, :, ::2, ::2], **options)
        image = {
            "axes": [
                {"name": "t", "type": "time"},
                {"name": "c", "type": "channel"},
                *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
            ],
            "datasets": [
                {
                    "path": str(i),
                    "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 0.04, s, s]}],
                }
                for i, s in enumerate((0.005, 0.01))
            ],
        }
        if version == "0.4":
            group.attrs["multiscales"] = [{"version": "0.4", **image}]
        else:
            group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
        return str(folder / "v.zarr")

    return write


def hdf5(folder: Path, array: np.ndarray) -> str:
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_dataset("volumes/raw", data=array, chunks=(2, 16, 16), compression="gzip")
        file["single"] = array[0]
    return f"{folder / 'v.h5'}::volumes/raw"


def hdf5_five_axes(folder: Path, array: np.ndarray) -> str:
    with h5py.File(folder / "v.h5", "w") as file:
        file["tzyxc"] = array[None, ..., None].astype(array.dtype.newbyteorder(">"))
    return str(folder / "v.h5")


def mrc(folder: Path, array: np.ndarray) -> str:
    stored = array if array.dtype == np.uint16 else (array ^ 0x80).view(np.int8)
    with mrcfile.new(folder / "v.mrc", stored):
        pass
    return str(folder / "v.mrc")


WRITERS: dict[str, Callable[[Path, np.ndarray], str]] = {
    "tiff raw": tiff(),
    "tiff raw big-endian": tiff(byteorder=">"),
    "tiff raw strips": tiff(rowsperstrip=5),
    "tiff raw pages": tiff_page_by_page,
    "tiff raw tiles": tiff(tile=(16, 32)),
    "tiff deflate strips": tiff(compression="zlib", predictor=2, rowsperstrip=5),
    "tiff deflate big-endian": tiff(compression="zlib", predictor=2, byteorder=">"),
    "tiff lzw tiles": tiff(compression="lzw", tile=(16, 32)),
    "bigtiff": tiff(bigtiff=True, compression="zlib", tile=(16, 16)),
    "ome-tiff": lambda folder, array: _ome_tiff(folder, array),
    "imagej": tiff(imagej=True, metadata={"axes": "ZYX", "spacing": 0.04, "unit": "um"}),
    "tiff folder": tiff_folder(),
    "tiff folder deflate": tiff_folder(compression="zlib", predictor=2, rowsperstrip=5),
    "png folder": png_folder,
    "zarr 2": plain_zarr(2, chunks=(2, 16, 16)),
    "zarr 3": plain_zarr(3, chunks=(2, 16, 16)),
    "zarr 3 sharded": plain_zarr(3, chunks=(2, 16, 16), shards=(4, 32, 32)),
    "zarr inside": zarr_inside,
    "ome-zarr 0.4": ome_zarr("0.4"),
    "ome-zarr 0.5": ome_zarr("0.5"),
    "hdf5": hdf5,
    "hdf5 five axes": hdf5_five_axes,
    "mrc": mrc,
}


def _ome_tiff(folder: Path, array: np.ndarray) -> str:
    tifffile.imwrite(
        folder / "v.ome.tif", array, metadata={"axes": "ZYX"}, compression="zlib", rowsperstrip=7
    )
    return str(folder / "v.ome.tif")


@dataclass(frozen=True)
class Case:
    name: str
    path: str
    array: np.ndarray


@pytest.fixture(
    scope="module",
    params=[(name, dtype) for name in WRITERS for dtype in DTYPES],
    ids=lambda p: f"{p[0]} {p[1].name}".replace(" ", "_"),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, dtype = request.param
    array = grey(dtype)
    return Case(name, WRITERS[name](tmp_path_factory.mktemp("volume"), array), array)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    start, stop = [], []
    for extent in SHAPE:
        a = draw(st.integers(0, extent - 1))
        start.append(a)
        stop.append(draw(st.integers(a + 1, extent)))
    return Region(tuple(start), tuple(stop))


def test_facts(case: Case) -> None:
    with open_volume(case.path) as volume:
        assert volume.shape == SHAPE
        assert volume.dtype == case.array.dtype
        assert volume.dtype.isnative
        assert volume.path == case.path


@settings(max_examples=8)
@given(wanted=st.lists(regions(), min_size=1, max_size=4))
def test_any_region(case: Case, wanted: list[Region]) -> None:
    with open_volume(case.path) as volume:
        for region in wanted:
            np.testing.assert_array_equal(volume.read(region), case.array[region.slices])


def test_the_array_is_the_callers(case: Case) -> None:
    region = Region((0, 3, 2), (2, 30, 60))
    with open_volume(case.path) as volume:
        for _ in range(2):
            voxels = volume.read(region)
            assert voxels.dtype == case.array.dtype
            assert voxels.dtype.isnative
            assert voxels.flags.c_contiguous
            assert voxels.flags.writeable
            assert voxels.flags.owndata
            np.testing.assert_array_equal(voxels, case.array[region.slices])
            voxels[...] = 0


def test_reads_from_threads(case: Case) -> None:
    generator = np.random.default_rng(0)
    low = generator.integers(0, [4, 36, 70], (48, 3))
    high = low + 1 + generator.integers(0, np.array(SHAPE) - low)
    wanted = [Region(tuple(a), tuple(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    with open_volume(case.path) as volume, ThreadPoolExecutor(4) as pool:
        for region, voxels in zip(wanted, pool.map(volume.read, wanted), strict=True):
            np.testing.assert_array_equal(voxels, case.array[region.slices])


def test_fingerprint_is_of_the_content(case: Case, tmp_path: Path) -> None:
    with open_volume(case.path) as volume:
        first = volume.fingerprint()
        assert volume.fingerprint() == first
    same, other = tmp_path / "same", tmp_path / "other"
    same.mkdir()
    other.mkdir()
    changed = case.array.copy()
    changed[-1, -1, -1] ^= 1
    with open_volume(WRITERS[case.name](same, case.array)) as volume:
        assert volume.fingerprint() == first
    with open_volume(WRITERS[case.name](other, changed)) as volume:
        assert volume.fingerprint() != first


def test_all_formats_share_one_fingerprint(tmp_path: Path) -> None:
    array = grey(np.dtype(np.uint8))
    found = set()
    for name, write in WRITERS.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        with open_volume(write(folder, array)) as volume:
            found.add(volume.fingerprint())
    assert len(found) == 1


def test_users_voxel_size_overrides(case: Case) -> None:
    with open_volume(case.path, voxel_nm=(50.0, 4.6, 4.5)) as volume:
        assert volume.voxel_nm == (50.0, 4.6, 4.5)


def test_closed_volume_refuses(case: Case) -> None:
    volume = open_volume(case.path)
    volume.close()
    volume.close()
    with pytest.raises(VolumeError, match="was closed and is read again"):
        volume.read(whole(SHAPE))


@pytest.mark.parametrize("region", [Region((0, 0, 0), (6, 1, 1)), Region((0, 0, -1), (1, 1, 1))])
def test_region_outside_is_a_fault_of_the_caller(case: Case, region: Region) -> None:
    with open_volume(case.path) as volume, pytest.raises(ValueError, match="not inside"):
        volume.read(region)


def _files(path: str) -> list[Path]:
    root = Path(path.split("::")[0])
    return [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_damage_is_a_volume_error_or_an_array(case: Case, tmp_path: Path, kind: str) -> None:
    """What is cut off gives a sentence or the right voxels, what is changed a sentence or any voxels."""
    generator = np.random.default_rng(len(case.name))
    files = _files(case.path)
    for file in [files[i] for i in generator.permutation(len(files))[:4]]:
        intact = file.read_bytes()
        try:
            for _ in range(4):
                damaged = bytearray(intact)
                if kind == "cut":
                    del damaged[generator.integers(len(intact)) :]
                else:
                    # Half of the blows go to the head of the file, where the description lies.
                    reach = len(intact) if generator.random() < 0.5 else min(len(intact), 200)
                    for at in generator.integers(0, reach, 3):
                        damaged[at] = generator.integers(256)
                file.write_bytes(damaged)
                found = _read_or_none(case.path)
                if kind == "cut" and found is not None:
                    np.testing.assert_array_equal(found, case.array)
        finally:
            file.write_bytes(intact)


def _read_or_none(path: str) -> np.ndarray | None:
    """Read all, but little of what a changed description blows up."""
    with suppress(VolumeError), open_volume(path) as volume:
        region = Region((0, 0, 0), tuple(min(n, 99) for n in volume.shape))
        voxels = volume.read(region)
        assert voxels.shape == region.shape
        return voxels
    return None
