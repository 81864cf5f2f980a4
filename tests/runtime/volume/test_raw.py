"""Windows of uncompressed slices: whole rows, spans, and single rows give the same voxels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region
from dmn_runtime.volume import raw
from dmn_runtime.volume.positional import PositionalFile
from dmn_runtime.volume.raw import RawSlices, read_raw

SHAPE = (3, 11, 13)
GREY = np.random.default_rng(1).integers(0, 2**16, SHAPE, np.uint16)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RawSlices]:
    """Write the slices in reverse order with gaps, big-endian."""
    path = tmp_path_factory.mktemp("raw") / "v"
    size = 11 * 13 * 2 + 5
    offsets = np.array([9 + 2 * size, 9 + size, 9])
    data = bytearray(9 + 3 * size)
    for offset, image in zip(offsets, GREY.astype(">u2"), strict=True):
        data[offset : offset + size - 5] = image.tobytes()
    path.write_bytes(data)
    return path, RawSlices(offsets, SHAPE, np.dtype(">u2"))


@given(
    corners=st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in SHAPE)),
    gap=st.sampled_from([0, 10, 1000]),
    scratch=st.sampled_from([1, 60, 10_000]),
)
def test_any_window_any_way(
    stored: tuple[Path, RawSlices], corners: tuple[tuple[int, int], ...], gap: int, scratch: int
) -> None:
    start = tuple(a for a, _ in corners)
    stop = tuple(min(a + n, m) for (a, n), m in zip(corners, SHAPE, strict=True))
    region = Region(start, stop)
    path, slices = stored
    with pytest.MonkeyPatch.context() as patch, PositionalFile(path) as file:
        patch.setattr(raw, "GAP_BYTES", gap)
        patch.setattr(raw, "SCRATCH_BYTES", scratch)
        np.testing.assert_array_equal(read_raw(file, slices, region), GREY[region.slices])


@pytest.mark.parametrize(
    ("region", "gap", "wanted"),
    [
        (Region((0, 2, 0), (1, 6, 13)), 0, 4 * 13 * 2),
        (Region((0, 2, 5), (1, 6, 7)), 0, 4 * 2 * 2),
        (Region((0, 2, 5), (1, 6, 7)), 100, 4 * 13 * 2),
    ],
)
def test_bytes_that_leave_the_disk(
    stored: tuple[Path, RawSlices], region: Region, gap: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, slices = stored
    read = []
    plain = PositionalFile.read_into
    monkeypatch.setattr(raw, "GAP_BYTES", gap)
    monkeypatch.setattr(
        PositionalFile, "read_into", lambda self, t, at: (read.append(t.nbytes), plain(self, t, at))[1]
    )
    with PositionalFile(path) as file:
        read_raw(file, slices, region)
    assert sum(read) == wanted
