import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import OutputError
from dmn_runtime.geometry import Region
from dmn_runtime.sink.open import open_sink, partial_path
from dmn_runtime.sink.tiff import runs

from .conftest import SHAPE, blocks_of, make_probability


def write(spec) -> np.ndarray:
    probability = make_probability(spec.shape)
    with closing(open_sink(spec, resume=False)) as sink:
        for region in blocks_of(spec):
            p = probability[region.slices]
            sink.write(region, p, (p >= 128).astype(np.uint8))
        sink.finish()
    return probability


@pytest.mark.parametrize(
    ("shape", "block"),
    [(SHAPE, (4, 256, 256)), ((3, 7, 5), (2, 4, 8)), ((3, 7, 5), (2, 8, 8)), ((1, 1, 1), (4, 4, 4))],
)
def test_round_trip(tmp_path: Path, make_spec, shape, block) -> None:
    probability = write(make_spec(tmp_path / "a.tif", shape=shape, block=block))

    with tifffile.TiffFile(tmp_path / "a.probability.tif") as tiff:
        pages = np.stack([page.asarray() for page in tiff.pages])
    np.testing.assert_array_equal(pages, probability)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "a.tif").reshape(shape), (probability >= 128).astype(np.uint8)
    )


def test_voxel_size_in_ome_xml(tmp_path: Path, make_spec) -> None:
    write(make_spec(tmp_path / "ä & <b>.tif", voxel_nm=(50.0, 4.6, 4.8)))

    with tifffile.TiffFile(tmp_path / "ä & <b>.tif") as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert tiff.series[0].axes == "ZYX"
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    found = {k: v for k, v in pixels.items() if k.startswith("PhysicalSize")}
    assert found == {
        "PhysicalSizeZ": 50.0,
        "PhysicalSizeZUnit": "nm",
        "PhysicalSizeY": 4.6,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeX": 4.8,
        "PhysicalSizeXUnit": "nm",
    }


def test_unknown_voxel_size_is_left_out(tmp_path: Path, make_spec) -> None:
    write(make_spec(tmp_path / "a.tif", voxel_nm=None))

    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert "PhysicalSize" not in tiff.ome_metadata


def test_beyond_2_gib_is_bigtiff_and_takes_no_space_before_it_is_written(
    tmp_path: Path, make_spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the files are holes all but one block, so that a small disk will do
    monkeypatch.setattr("dmn_runtime.sink.tiff.require_space", lambda path, needed: None)
    spec = make_spec(tmp_path / "a.tif", shape=(64, 6000, 6000), block=(16, 1000, 6000))
    last = Region((48, 5000, 0), (64, 6000, 6000))
    voxels = np.full(last.shape, 5, np.uint8)
    with closing(open_sink(spec, resume=False)) as sink:
        mask = partial_path(spec.path) / "a.tif"
        used = mask.stat().st_blocks * 512
        sink.write(last, voxels, voxels)

    assert used < 1_000_000 < 2_000_000_000 < mask.stat().st_size
    with tifffile.TiffFile(mask) as tiff:
        assert tiff.is_bigtiff
        page = tiff.pages[63].asarray()
    assert page[4999].max() == 0
    assert page[5000:].min() == 5


def test_threads_do_not_write_into_each_others_rows(tmp_path: Path, make_spec) -> None:
    spec = make_spec(tmp_path / "a.tif", shape=(8, 400, 64), block=(1, 400, 16))
    probability, before = make_probability(spec.shape), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # without a lock, a thread is interrupted between seek and write
    try:
        with closing(open_sink(spec, resume=False)) as sink, ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda r: sink.write(r, probability[r.slices], probability[r.slices]), blocks_of(spec)
                )
            )
            sink.finish()
    finally:
        sys.setswitchinterval(before)

    np.testing.assert_array_equal(tifffile.imread(spec.path), probability)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.probability.tif"), probability)


def test_write_that_stops_early_is_not_taken_for_a_whole_one(tmp_path: Path, make_spec) -> None:
    spec = make_spec(tmp_path / "a.tif", shape=(4, 600, 300), block=(4, 600, 300))
    voxels, before = make_probability(spec.shape), resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(open_sink(spec, resume=False)) as sink:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        try:
            with pytest.raises(OutputError, match="does not allow files this large"):
                sink.write(Region((0, 0, 0), spec.shape), voxels, voxels)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


EDGE = st.integers(1, 6)


@given(st.tuples(EDGE, EDGE, EDGE), st.data())
def test_runs_cover_a_region_exactly(shape: tuple[int, int, int], data: st.DataObject) -> None:
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    wanted = [
        (z * shape[1] + y) * shape[2] + x
        for z, y, x in product(*(range(a, b) for a, b in zip(start, stop, strict=True)))
    ]

    offsets, length = runs(shape, Region(start, stop))

    assert [offset + k for offset in offsets for k in range(length)] == wanted


def test_full_rows_are_one_run() -> None:
    offsets, length = runs((4, 5, 6), Region((1, 2, 0), (3, 4, 6)))
    assert ([*offsets], length) == ([42, 72], 12)
    offsets, length = runs((4, 5, 6), Region((1, 0, 0), (3, 5, 6)))
    assert ([*offsets], length) == ([30], 60)
