"""The volume that is measured on where none is given."""

from pathlib import Path

import pytest

from dmn_runtime.bench import phantom_volume
from dmn_runtime.volume.open import open_volume


def test_the_phantom_is_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_volume, "_SLAB", (2, 40, 40))
    prints = []
    for name in ("a.tif", "b.tif"):
        phantom_volume.write_phantom(tmp_path / name, (3, 50, 70), (30.0, 8.0, 8.0))
        with open_volume(tmp_path / name) as made:
            prints.append(made.fingerprint())
            assert (made.shape, made.voxel_nm) == ((3, 50, 70), (30.0, 8.0, 8.0))
    assert prints[0] == prints[1]
