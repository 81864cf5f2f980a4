"""MRC: modes, signed bytes, voxel size, extended headers, truncation."""

import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dmn_runtime.errors import MissingExtra, VolumeError
from dmn_runtime.geometry import whole
from dmn_runtime.volume.open import open_volume

SIGNED = np.array([[[-128, -1, 0], [1, 2, 127]], [[3, 4, 5], [6, 7, 8]]], np.int8)
SHIFTED = [[[0, 127, 128], [129, 130, 255]], [[131, 132, 133], [134, 135, 136]]]


def written(path: Path, array: np.ndarray, voxel_angstrom: tuple[float, float, float] | None = None) -> Path:
    with mrcfile.new(path, array) as file:
        if voxel_angstrom is not None:
            file.voxel_size = voxel_angstrom  # x, y, z
    return path


def stamp(path: Path, flags: int) -> None:
    data = bytearray(path.read_bytes())
    data[152:160] = np.array([1146047817, flags], "<i4").tobytes()
    path.write_bytes(data)


def read(path: Path) -> np.ndarray:
    with open_volume(path) as volume:
        return volume.read(whole(volume.shape))


def refusal(path: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["mrc", "rec", "st", "map", "MRC"])
def test_signed_bytes_are_shifted(tmp_path: Path, suffix: str) -> None:
    assert read(written(tmp_path / f"a.{suffix}", SIGNED)).tolist() == SHIFTED


def test_imods_stamp_tells_signed_from_unsigned(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", SIGNED)
    stamp(path, flags=1)
    assert read(path).tolist() == SHIFTED
    stamp(path, flags=0)
    assert read(path).tolist() == SIGNED.view(np.uint8).tolist()


@pytest.mark.parametrize(
    ("angstrom", "expected"),
    [((46, 50, 500), (50, 5, 4.6)), ((1, 1, 1), None), (None, None), ((0, 50, 500), None)],
)
def test_voxel_size(
    tmp_path: Path, angstrom: tuple[float, float, float] | None, expected: tuple[float, ...] | None
) -> None:
    with open_volume(written(tmp_path / "a.mrc", SIGNED, angstrom)) as volume:
        assert volume.voxel_nm == (None if expected is None else pytest.approx(expected))


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    grey = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    with mrcfile.new(tmp_path / "a.mrc", grey) as file:
        file.set_extended_header(np.full(96, 7, np.uint8))
    np.testing.assert_array_equal(read(tmp_path / "a.mrc"), grey)


def test_single_image(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.mrc", SIGNED[0])).tolist() == SHIFTED[:1]


@pytest.mark.parametrize(
    ("dtype", "name"), [("float32", "mode 2 (float32)"), ("int16", "mode 1 (int16)"), ("complex64", "mode 4")]
)
def test_other_modes_are_refused(tmp_path: Path, dtype: str, name: str) -> None:
    path = written(tmp_path / "a.mrc", SIGNED.astype(dtype))
    assert f"is of MRC {name}" in refusal(path)


def test_stack_of_volumes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", np.zeros((3, 2, 4, 5), np.int8))
    assert "holds 3 volumes, but one is wanted" in refusal(path)


def test_cut_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", SIGNED)
    path.write_bytes(path.read_bytes()[:-1])
    assert "is truncated: its data reach to byte 1036, but it ends at 1035" in refusal(path)


def test_not_mrc(tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(b"x" * 2000)
    assert "cannot be read as MRC (ValueError: Map ID string not found" in refusal(tmp_path / "a.mrc")


def test_without_mrcfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mrc", SIGNED)
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    with pytest.raises(MissingExtra, match=r"mrcfile must be installed: pip install 'dmn-em\[mrc\]'"):
        open_volume(path)
