"""Whose fingerprints hold file times: those of large volumes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_train import file_times
from dmn_train.file_times import fingerprint_holds_times


@pytest.fixture
def volume(tmp_path: Path) -> str:
    path = tmp_path / "v.tif"
    voxels = np.arange(400, dtype=np.uint16).reshape(2, 10, 20)  # 800 bytes
    tifffile.imwrite(path, voxels, photometric="minisblack")
    return str(path)


@pytest.mark.parametrize(("limit", "holds"), [(799, True), (800, False)])
def test_a_volume_that_is_not_read_whole_is_known_by_its_times(
    volume: str, monkeypatch: pytest.MonkeyPatch, limit: int, holds: bool
) -> None:
    monkeypatch.setattr(file_times, "WHOLE_BYTES", limit)
    assert fingerprint_holds_times(volume) is holds


def test_a_small_volume_is_known_by_its_content(volume: str) -> None:
    assert not fingerprint_holds_times(volume)


def test_of_a_volume_that_is_gone_it_may_be(tmp_path: Path) -> None:
    assert fingerprint_holds_times(str(tmp_path / "gone.tif"))
