"""HDF5: which dataset, which voxel size, and many threads."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from dmn_runtime.errors import MissingExtra, VolumeError
from dmn_runtime.geometry import whole
from dmn_runtime.volume.open import open_volume

VOLUME = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = VOLUME
        file["volumes/mean"] = VOLUME[0]
        file["scalar"] = 3
        file["float"] = VOLUME[0].astype(np.float32)
        file["empty"] = h5py.Empty("uint8")
        file["volumes/raw"].attrs["element_size_um"] = [0.04, 0.005, 0.004]
    return tmp_path / "a.h5"


def refusal(path: str | Path) -> str:
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    return str(caught.value)


def test_the_only_volume_is_taken(path: Path) -> None:
    with open_volume(path) as volume:
        assert volume.voxel_nm == pytest.approx((40, 5, 4))
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), VOLUME)


def test_an_image_by_its_name(path: Path) -> None:
    with open_volume(f"{path}::/volumes/mean/") as volume:
        assert (volume.shape, volume.voxel_nm) == ((1, 6, 8), None)
        np.testing.assert_array_equal(volume.read(whole(volume.shape))[0], VOLUME[0])


@pytest.mark.parametrize("inner", ["raw", "volumes", "volumes/raw/deeper", ""])
def test_wrong_path_lists_the_datasets(path: Path, inner: str) -> None:
    assert refusal(f"{path}::{inner}") == (
        f"{path} has no dataset {inner!r}: it holds the datasets float (6x8), volumes/mean (6x8), "
        "volumes/raw (4x6x8)"
    )


def test_two_volumes_must_be_named(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["mask"] = VOLUME
    assert "volumes/raw (4x6x8): name the one to read (as " in refusal(path)


def test_no_datasets(tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w").close()
    assert "holds no datasets: check that it is the file with the image" in refusal(tmp_path / "a.h5")


def test_types_and_shapes_are_refused(path: Path) -> None:
    assert "a.h5::float holds float32 voxels, but uint8 or uint16 is wanted" in refusal(f"{path}::float")
    assert "a.h5::empty is empty" in refusal(f"{path}::empty")
    with h5py.File(path, "a") as file:
        file["channels"] = np.zeros((2, 3, 4, 5), np.uint8)
        file["nothing"] = np.zeros((0, 4, 5), np.uint8)
    assert "channels has the shape (2, 3, 4, 5), but a volume (z, y, x)" in refusal(f"{path}::channels")
    assert "has the shape (0, 4, 5) and no voxels" in refusal(f"{path}::nothing")


def test_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"x" * 2000)
    assert "cannot be read as HDF5 (OSError" in refusal(tmp_path / "a.h5")


def test_closing_while_others_read(path: Path) -> None:
    """A read that meets the close gives voxels or a sentence, never a crash of the library."""
    for _ in range(20):
        volume = open_volume(path)

        def read(_: int, volume: object = volume) -> bool:
            try:
                return bool((volume.read(whole(volume.shape)) == VOLUME).all())
            except VolumeError:
                return True

        with ThreadPoolExecutor(3) as pool:
            results = pool.map(read, range(12))
            volume.close()
            assert all(results)


def test_without_h5py(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"h5py must be installed: pip install 'dmn-em\[hdf5\]'"):
        open_volume(path)
