"""The fingerprint: every voxel of a small volume, a sample and the file times of a large one."""

from math import prod
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.volume import fingerprint as module
from dmn_runtime.volume.fingerprint import fingerprint, slabs
from dmn_runtime.volume.open import open_volume

GREY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def of(array: np.ndarray, times: list[tuple[int, int]] | None = None) -> str:
    return fingerprint(array.shape, array.dtype, lambda r: array[r.slices], lambda: times or [])


def test_literal() -> None:
    """The ledger of a run that is resumed next year must find the same value."""
    assert of(GREY) == "c319d817f640cd50be55581cc78735077d0cbabf22fe3448d5b44a9c2c8c3594"
    assert of(GREY.astype(np.uint16)) == "0dd97ce1602069c626fe6f91e51f9cf78139f59682b6779f7fe6f12d80fa7825"


def test_shape_and_type_count() -> None:
    assert len({of(GREY), of(GREY.reshape(3, 2, 4)), of(GREY.astype(np.uint16)), of(GREY + 1)}) == 4


def test_byte_order_of_the_machine_does_not_count() -> None:
    wide = GREY.astype(np.uint16)
    assert fingerprint(wide.shape, wide.dtype, lambda r: wide.astype(">u2")[r.slices], list) == of(wide)


@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)), voxels=st.integers(1, 100))
def test_slabs_are_the_volume_in_c_order(shape: tuple[int, int, int], voxels: int) -> None:
    array = np.arange(prod(shape)).reshape(shape)
    parts = [array[region.slices] for region in slabs(shape, voxels)]
    assert np.concatenate([p.ravel() for p in parts]).tolist() == list(range(prod(shape)))
    assert max(p.size for p in parts) <= max(voxels, shape[2])


def test_large_volumes_are_sampled_and_told_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", 1)
    assert of(GREY, [(5, 6)]) == of(GREY, [(5, 6)])
    assert len({of(GREY, [(5, 6)]), of(GREY, [(5, 7)]), of(GREY, [(4, 6)]), of(GREY + 1, [(5, 6)])}) == 4
    monkeypatch.undo()
    assert of(GREY, [(5, 6)]) == of(GREY, [(5, 7)])


def test_large_volume_moved_and_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", 1)
    found = []
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack")
    for action in (
        lambda: path,
        lambda: path.rename(tmp_path / "b.tif"),
        lambda: touched(tmp_path / "b.tif"),
    ):
        with open_volume(action()) as volume:
            found.append(volume.fingerprint())
    assert found[0] == found[1] != found[2]


def touched(path: Path) -> Path:
    path.write_bytes(path.read_bytes() + b"\\0")
    return path
