"""TIFF: what is refused, what is found at opening, and that only the wanted segments are decoded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, whole
from dmn_runtime.volume import tiff_stack
from dmn_runtime.volume.open import open_volume
from dmn_runtime.volume.positional import PositionalFile
from dmn_runtime.volume.tiff_stack import SegmentGrid, TiffStack, decode_segment

STACK = np.arange(4 * 32 * 48, dtype=np.uint32).astype(np.uint8).reshape(4, 32, 48)


def refusal(path: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def written(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return path


def test_a_single_image_is_one_slice(tmp_path: Path) -> None:
    with open_volume(written(tmp_path / "a.tif", STACK[0])) as volume:
        assert volume.shape == (1, 32, 48)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "TIFF"),
        ({"bigtiff": True}, "BigTIFF"),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, "ImageJ TIFF"),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, "OME-TIFF"),
    ],
)
def test_format_names(tmp_path: Path, options: dict[str, object], name: str) -> None:
    with open_volume(written(tmp_path / "a.tif", STACK, **options)) as volume:
        assert volume.format == name


def test_rgb_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", np.zeros((32, 48, 3), np.uint8), photometric="rgb")
    assert "holds 3 channels a pixel (RGB or several detectors)" in refusal(path)


def test_channels_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ome.tif", STACK[:2], metadata={"axes": "CYX"})
    assert "has the axes C=2, Y=32, X=48, but one stack of slices is wanted" in refusal(path)


def test_time_points_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    assert "has the axes T=4, Y=32, X=48, but one stack of slices is wanted" in refusal(path)


@pytest.mark.parametrize("dtype", ["float32", "int16", "int8", "uint32"])
def test_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    path = written(tmp_path / "a.tif", STACK.astype(dtype))
    assert f"holds {dtype} voxels, but uint8 or uint16 is wanted: convert it" in refusal(path)


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_other_photometrics_are_refused(tmp_path: Path, photometric: str) -> None:
    colormap = np.zeros((3, 256), np.uint16) if photometric == "palette" else None
    path = written(tmp_path / "a.tif", STACK[0], photometric=photometric, colormap=colormap)
    assert f"stores its pixels as {photometric.upper()}" in refusal(path)


def test_pages_of_different_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for image in (STACK[0], STACK[1], STACK[2, :16]):
            writer.write(image, metadata=None)
    assert "holds 2 images (2x32x48, 16x48)" in refusal(path)


def test_the_only_stack_among_images_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    sizes = {"PhysicalSizeX": 0.004, "PhysicalSizeY": 0.005, "PhysicalSizeZ": 0.05}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(STACK[0, :8, :8], metadata={"axes": "YX", "PhysicalSizeX": 9})
        writer.write(STACK, photometric="minisblack", metadata={"axes": "ZYX", **sizes})
    with open_volume(path) as volume:
        assert volume.voxel_nm == pytest.approx((50, 5, 4))
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), STACK)


def test_two_stacks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(STACK, metadata={"axes": "ZYX"})
        writer.write(STACK[:2], metadata={"axes": "ZYX"})
    assert "holds 2 images (4x32x48, 2x32x48)" in refusal(path)


def test_not_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"not an image at all, whatever its name says")
    assert "cannot be read as TIFF" in refusal(path)


@pytest.mark.parametrize("pages", [4, 9])
def test_images_written_one_by_one_are_a_stack(tmp_path: Path, pages: int) -> None:
    stack = np.resize(STACK, (pages, 32, 48))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in stack:
            writer.write(image, compression="zlib")
    with open_volume(tmp_path / "a.tif") as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), stack)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("metadata", [None, {}])
def test_a_cut_file_is_refused_at_opening(
    tmp_path: Path, compression: str | None, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for image in STACK:
            writer.write(image, compression=compression, metadata=metadata, contiguous=False)
    data = path.read_bytes()
    for kept in range(8, len(data), 97):
        path.write_bytes(data[:kept])
        found = refusal(path)
        assert "is truncated" in found or "cut off" in found


def test_a_file_cut_between_two_pages_is_refused(tmp_path: Path) -> None:
    """All that is left is in order but for the address of the next page."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for image in STACK:
            writer.write(image, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        third = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[:third])
    assert f"is truncated: its data reach to byte {third}, but it ends at {third}" in refusal(path)


def test_strips_that_do_not_cover_the_slice(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", STACK, compression="zlib", metadata=None, rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            page.tags["RowsPerStrip"].overwrite(8)
    assert "is damaged: slice 0 lists 2 strips or tiles where 4 are wanted" in refusal(path)


def test_planes_that_the_description_names_and_the_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes().replace(b'SizeZ="4"', b'SizeZ="6"'))
    assert "holds 4 of the 6 slices that its description names" in refusal(path)


def test_a_cut_imagej_stack_with_one_page_is_refused(tmp_path: Path) -> None:
    """ImageJ describes stacks above 4 GB by one page, with the other slices behind it."""
    path = tmp_path / "a.tif"
    text = "ImageJ=1.54f\nimages=4\nslices=4\nloop=false\n"
    tifffile.imwrite(path, STACK[0], description=text, metadata=None)
    whole_file = path.read_bytes() + STACK[1:].tobytes()
    path.write_bytes(whole_file)
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), STACK)
    path.write_bytes(whole_file[:-1])
    assert "fewer slices than its ImageJ description names" in refusal(path)


def test_a_file_cut_after_opening_is_refused_at_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", STACK)
    with open_volume(path) as volume:
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(VolumeError, match="is truncated"):
            volume.read(whole(volume.shape))


def test_an_empty_strip_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", STACK, compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[2].tags["StripByteCounts"].overwrite(0)
    assert "is not complete: slice 2 has a strip or tile without data" in refusal(path)


def test_a_file_of_several_is_refused(tmp_path: Path) -> None:
    names = ("a.ome.tif", "b.ome.tif")
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in (1, 2)]
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for z, (name, uuid) in enumerate(zip(names, uuids, strict=True))
    )
    for name, uuid, image in zip(names, uuids, STACK, strict=False):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" DimensionOrder="XYZCT" '
            'SizeX="48" SizeY="32" SizeZ="2" SizeC="1" SizeT="1" PhysicalSizeX="5" PhysicalSizeXUnit="nm" '
            'PhysicalSizeY="5" PhysicalSizeYUnit="nm" PhysicalSizeZ="40" PhysicalSizeZUnit="nm">'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, image, description=xml, metadata=None)
    assert "is one of several files of an OME-TIFF" in refusal(tmp_path / names[0])
    with open_volume(tmp_path) as volume:
        assert volume.voxel_nm == (40, 5, 5)
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), STACK[:2])


def test_only_touched_segments_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.tif", STACK, compression="zlib", tile=(16, 16), metadata=None)
    decoded: list[tuple[int, int]] = []
    plain = tiff_stack.decode_segment
    monkeypatch.setattr(
        tiff_stack,
        "decode_segment",
        lambda file, stack, z, i: (decoded.append((z, i)), plain(file, stack, z, i))[1],
    )
    with open_volume(path) as volume:
        volume.read(Region((1, 20, 17), (3, 30, 40)))  # the lower row of tiles, the middle and right column
        assert decoded == [(1, 4), (1, 5), (2, 4), (2, 5)]
        volume.read(Region((2, 0, 33), (3, 32, 34)))
        assert decoded[4:] == [(2, 2)]


def test_segment_grid() -> None:
    grid = SegmentGrid((40, 70), (16, 32))
    assert grid.count == 9
    assert grid.origin(5) == (16, 64)
    assert list(grid.covering(Region((0, 15, 0), (1, 17, 32)))) == [0, 3]
    assert list(grid.covering(Region((0, 32, 31), (1, 40, 70)))) == [6, 7, 8]


def test_jpeg_tables_of_each_slice_reach_the_decoder(tmp_path: Path) -> None:
    seen = []

    def decode(data: bytes, index: int, *, jpegtables: bytes | None) -> tuple[np.ndarray]:
        seen.append((data, index, jpegtables))
        return (np.zeros((1, 4, 4, 1), np.uint8),)

    (tmp_path / "a").write_bytes(b"abcd")
    table = np.array([[0, 1], [2, 3]])
    grid = SegmentGrid((4, 8), (4, 4))
    stack = TiffStack(
        grid, (2, 4, 8), np.dtype(np.uint8), table, np.ones_like(table), decode, (b"first", b"second")
    )
    with PositionalFile(tmp_path / "a") as file:
        decode_segment(file, stack, 1, 0)
        decode_segment(file, stack, 0, 1)
    assert seen == [(b"c", 0, b"second"), (b"b", 1, b"first")]


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8) * 3, (2, 64, 64))
    path = written(tmp_path / "a.tif", smooth, compression="jpeg", tile=(32, 32))
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), tifffile.imread(path))


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
from dmn_runtime.errors import DmnError
from dmn_runtime.geometry import whole
from dmn_runtime.volume.open import open_volume
for path in sys.argv[1:]:
    try:
        with open_volume(path) as volume:
            print(volume.read(whole(volume.shape)).sum())
    except DmnError as error:
        print(type(error).__name__, error)
"""


def test_without_imagecodecs(tmp_path: Path) -> None:
    """Deflate with predictor needs nothing more than tifffile; LZW names the command that mends it."""
    deflate = written(tmp_path / "deflate.tif", STACK, compression="zlib", predictor=2)
    lzw = written(tmp_path / "lzw.tif", STACK, compression="lzw", predictor=2)
    with open_volume(lzw) as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), STACK)
    command = [sys.executable, "-c", WITHOUT_IMAGECODECS, str(deflate), str(lzw)]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=here)
    lines = done.stdout.splitlines()
    assert lines == [
        str(STACK.sum()),
        f"MissingExtra to read LZW compression in {lzw}, imagecodecs must be installed: "
        "pip install 'dmn-em[codecs]'",
    ]


@pytest.mark.em
def test_real_volume(em_data: Path) -> None:
    path = em_data / "vnc" / "image.tif"
    with open_volume(path) as volume:
        assert (volume.shape, volume.format, volume.voxel_nm) == ((20, 1024, 1024), "TIFF", None)
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), tifffile.imread(path))
