"""The door: which format a path is, and what is refused before a library sees it."""

from pathlib import Path

import h5py
import mrcfile
import numpy as np
import psutil
import pytest
import tifffile

from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.volume.open import open_volume, split_inner


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"a\.tif does not exist: check the path"):
        open_volume(tmp_path / "a.tif")


def test_too_long_a_name(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300)
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    assert str(caught.value).startswith(f"{path} cannot be read as a volume (OSError: ")
    with pytest.raises(VolumeError, match="cannot be read as a volume"):
        open_volume(f"{path}::raw")


def test_a_loop_of_links(tmp_path: Path) -> None:
    loop = tmp_path / "a.tif"
    loop.symlink_to(loop)
    with pytest.raises(VolumeError, match=r"a\.tif (does not exist: check the path|cannot be read)"):
        open_volume(loop)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patched, as the superuser may open every folder."""

    def closed(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(VolumeError, match=r"a\.tif cannot be read as a volume \(PermissionError: "):
        open_volume(tmp_path / "a.tif")


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").touch()
    with pytest.raises(VolumeError) as caught:
        open_volume(tmp_path / "a.nd2")
    assert str(caught.value) == (
        f"{tmp_path / 'a.nd2'} has the unknown suffix '.nd2': readable are TIFF (.tif .tiff .btf .tf8), "
        "PNG (.png), JPEG (.jpg .jpeg), HDF5 (.h5 .hdf5 .hdf), MRC (.mrc .rec .st .map), folders of TIFF, "
        "PNG or JPEG slices, and Zarr stores"
    )


def test_path_inside_a_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    with pytest.raises(VolumeError, match="has no datasets inside, but ::raw was asked for"):
        open_volume(f"{tmp_path / 'a.tif'}::raw")


@pytest.mark.parametrize("voxel_nm", [(0, 5, 5), (5, 5), (5, 5, float("nan")), (-5, 5, 5)])
def test_impossible_voxel_size(tmp_path: Path, voxel_nm: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="is not three positive lengths in nm"):
        open_volume(tmp_path / "a.tif", voxel_nm=voxel_nm)


def test_split_inner(tmp_path: Path) -> None:
    assert split_inner("a.h5::/b/c/") == (Path("a.h5"), "b/c")
    assert split_inner("a.h5") == (Path("a.h5"), None)
    odd = tmp_path / "odd::name.tif"
    odd.touch()
    assert split_inner(str(odd)) == (odd, None)


def test_a_refused_file_is_let_go(tmp_path: Path) -> None:
    """Else it could not be moved or deleted on Windows, and a long session would run out of handles."""
    floats = np.zeros((2, 4, 5), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", floats)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["grey"] = floats
    mrcfile.new(tmp_path / "a.mrc", floats).close()
    kept = []  # an error that is kept, by a notebook for instance, keeps what its frames hold
    for name in ("a.tif", "a.h5", "a.mrc"):
        with pytest.raises(VolumeError) as caught:
            open_volume(tmp_path / name)
        kept.append(caught)
    assert not [f.path for f in psutil.Process().open_files() if f.path.startswith(str(tmp_path))]
