"""Folders of slices and lone PNG and JPEG files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, whole
from dmn_runtime.volume import slices
from dmn_runtime.volume.decoded_cache import DecodedCache
from dmn_runtime.volume.natural_order import natural_key
from dmn_runtime.volume.open import open_volume
from dmn_runtime.volume.picture import read_picture
from dmn_runtime.volume.tiff_stack import SegmentKey

IMAGE = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)


def refusal(path: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    return str(caught.value)


def test_order_of_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 100, 1):
        Image.fromarray(np.full((2, 3), number, np.uint8)).save(tmp_path / f"s{number}.png")
    with open_volume(tmp_path) as volume:
        assert volume.read(whole(volume.shape))[:, 0, 0].tolist() == [1, 9, 10, 100]
        assert volume.format == "folder of PNG slices"


def test_natural_key() -> None:
    names = ["a10.tif", "a2.tif", "A1.tif", "10.tif", "a2b3.tif", "a02.tif", "b.tif"]
    assert sorted(names, key=natural_key) == [
        "10.tif", "A1.tif", "a02.tif", "a2.tif", "a2b3.tif", "a10.tif", "b.tif",
    ]  # fmt: skip


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.TIF", IMAGE)
    (tmp_path / "log.txt").write_text("x")
    (tmp_path / "._a.tif").write_bytes(b"what a Mac leaves")
    with open_volume(tmp_path) as volume:
        assert volume.shape == (1, 12, 20)


def test_empty_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path} holds no slices: a folder of .tif .tiff .png .jpg .jpeg files is wanted"
    )


def test_mixed_kinds(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    Image.fromarray(IMAGE).save(tmp_path / "b.png")
    assert refusal(tmp_path) == (
        f"{tmp_path} holds PNG and TIFF files, but slices of one kind are wanted: move the others away"
    )
    Image.fromarray(IMAGE).save(tmp_path / "c.jpg")
    assert "holds JPEG and PNG and TIFF files" in refusal(tmp_path)


@pytest.mark.parametrize("other", [IMAGE[:11], IMAGE.astype(np.uint16)])
def test_the_first_differing_slice_is_named(tmp_path: Path, other: np.ndarray) -> None:
    for number, image in enumerate([IMAGE, IMAGE, other, other]):
        Image.fromarray(image).save(tmp_path / f"s{number}.png")
    assert refusal(tmp_path) == (
        f"{tmp_path / 's2.png'} is {other.shape[0]}x20 {other.dtype} while the slices before it are 12x20 "
        "uint8: all slices must have the same shape and type"
    )


def test_a_stack_among_the_slices(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([IMAGE, IMAGE]))
    assert f"{tmp_path / 'a.tif'} holds 2 slices, but in a folder each file is one slice" in refusal(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "1"])
def test_colour_png(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (20, 12)).save(tmp_path / "a.png")
    assert f"{tmp_path / 'a.png'} is a PNG of mode {mode}, but 8-bit or 16-bit grey is wanted" in refusal(
        tmp_path
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG"])
def test_grey_jpeg(tmp_path: Path, name: str) -> None:
    smooth = np.add.outer(np.arange(32), 3 * np.arange(40)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / name, "JPEG", quality=100)
    for path, described in ((tmp_path, "folder of JPEG slices"), (tmp_path / name, "JPEG")):
        with open_volume(path) as volume:
            assert (volume.format, volume.shape, volume.dtype) == (described, (1, 32, 40), np.uint8)
            found = volume.read(Region((0, 3, 5), (1, 30, 33)))[0].astype(int)
        assert np.abs(found - smooth[3:30, 5:33]).max() <= 2  # the format loses a little


def test_jpegs_are_ordered_and_may_have_either_suffix(tmp_path: Path) -> None:
    for number, suffix in ((10, "jpg"), (9, "jpeg"), (100, "JPG")):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"s{number}.{suffix}", "JPEG")
    with open_volume(tmp_path) as volume:
        assert volume.read(whole(volume.shape))[:, 0, 0].tolist() == [9, 10, 100]


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_colour_jpeg(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (20, 12)).save(tmp_path / "a.jpg")
    assert f"{tmp_path / 'a.jpg'} is a JPEG of mode {mode}, but 8-bit or 16-bit grey is wanted" in refusal(
        tmp_path
    )


def test_damaged_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    with (
        open_volume(path) as volume,
        pytest.raises(VolumeError, match=r"a\.jpg cannot be read as JPEG \(OSError: image file is truncated"),
    ):
        volume.read(whole(volume.shape))
    path.write_bytes(b"nothing")
    assert f"{path} cannot be read as JPEG" in refusal(path)


def test_damaged_slice_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"nothing")
    assert f"{tmp_path / 'b.png'} cannot be read as PNG" in refusal(tmp_path)


def test_vanished_slice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    with open_volume(tmp_path) as volume:
        (tmp_path / "b.png").unlink()
        with pytest.raises(VolumeError, match=r"FileNotFoundError.*b\.png"):
            volume.read(whole(volume.shape))


def test_slice_that_changed_its_shape(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    with open_volume(tmp_path) as volume:
        Image.fromarray(IMAGE[:5]).save(tmp_path / "a.png")
        with pytest.raises(VolumeError, match="changed while it was read"):
            volume.read(whole(volume.shape))


def test_lone_png(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    with open_volume(tmp_path / "a.png") as volume:
        assert (volume.format, volume.shape, volume.voxel_nm) == ("PNG", (1, 12, 20), None)
        np.testing.assert_array_equal(volume.read(whole(volume.shape))[0], IMAGE)


def test_slices_larger_than_pillows_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with open_volume(tmp_path) as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape))[0], IMAGE)


def test_plain_tags_of_slices_leave_z_unknown(tmp_path: Path) -> None:
    for name, expected in (("a.tif", (5, 5, 4)), ("b.tif", None)):
        tifffile.imwrite(tmp_path / name, IMAGE, resolution=(1e7 / 4, 1e7 / 5), resolutionunit="CENTIMETER")
        with open_volume(tmp_path) as volume:
            assert volume.voxel_nm == (None if expected is None else pytest.approx(expected))


def test_voxel_size_of_imagej_slices(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "spacing": 40.0, "unit": "nm"}
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, IMAGE, imagej=True, resolution=(0.25, 0.2), metadata=metadata)
    with open_volume(tmp_path) as volume:
        assert volume.voxel_nm == pytest.approx((40, 5, 4))


@pytest.mark.parametrize(("limit", "cap", "decodes"), [(0, 10**6, 6), (0, 0, 20), (10**6, 10**6, 6)])
def test_slices_larger_than_the_budget_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, cap: int, decodes: int
) -> None:
    """Slabs of 4 slices with one of context, 2 blocks each: 5 + 5 slices of the 6, twice, if none is kept."""
    for number in range(6):
        Image.fromarray(IMAGE + number).save(tmp_path / f"s{number}.png")
    decoded: list[str] = []

    def counted(path: Path, kind: str) -> np.ndarray:
        decoded.append(path.name)
        return read_picture(path, kind)

    def tiny() -> DecodedCache[SegmentKey]:
        return DecodedCache(limit, cap)

    monkeypatch.setattr(slices, "read_picture", counted)
    monkeypatch.setattr(slices, "DecodedCache", tiny)
    with open_volume(tmp_path) as volume:
        for z in ((0, 5), (1, 6)):
            for x in ((0, 12), (8, 20)):
                region = Region((z[0], 0, x[0]), (z[1], 12, x[1]))
                expected = np.stack([IMAGE + n for n in range(*z)])[:, :, x[0] : x[1]]
                np.testing.assert_array_equal(volume.read(region), expected)
    assert len(decoded) == decodes
