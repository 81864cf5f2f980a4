"""The preview PNG: outlines, sizes, scale bar, bounded reads, whole or not at all."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from dmn_runtime import preview
from dmn_runtime.errors import OutputError
from dmn_runtime.geometry import Region
from dmn_runtime.preview import (
    CONTOUR,
    GAP_PX,
    MARGIN_PX,
    PreviewSlice,
    SliceStatistics,
    colour_table,
    draw_preview,
    outline,
    resized,
    scale_bar,
    write_preview,
    write_volume_preview,
)


@dataclass
class ArrayVolume:
    """A volume in memory that remembers the largest read."""

    array: np.ndarray
    largest: int = 0
    path: str = "array"
    format: str = "array"
    voxel_nm: tuple[float, float, float] | None = None
    regions: list[Region] = field(default_factory=list)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, region):
        self.regions.append(region)
        return self.array[region.slices].copy()


def a_row(height=300, width=400, label="slice 1 of 1") -> PreviewSlice:
    mask = np.zeros((height, width), bool)
    mask[100:200, 100:200] = True
    return PreviewSlice(label, np.full((height, width), 90, np.uint8), mask.astype(np.uint8) * 255, mask)


def statistics_of(probability, threshold=128) -> SliceStatistics:
    statistics = SliceStatistics(probability.shape)
    whole = Region((0, 0, 0), probability.shape)
    statistics.add(whole, probability, (probability >= threshold).view(np.uint8))
    return statistics


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_outline_of_a_square_is_its_rim():
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    rim = mask.copy()
    rim[2:5, 2:5] = False
    np.testing.assert_array_equal(outline(mask), rim)
    thick = mask.copy()
    thick[3, 3] = False
    np.testing.assert_array_equal(outline(mask, 2), thick)


def test_outline_stays_open_at_the_border():
    assert not outline(np.ones((4, 5), bool)).any()
    assert not outline(np.zeros((4, 5), bool)).any()


def test_colours_get_lighter_all_the_way():
    table = colour_table().astype(float)
    assert table.shape == (256, 3)
    assert (np.diff(table @ [0.2126, 0.7152, 0.0722]) > -0.3).all()
    assert (np.diff((table @ [0.2126, 0.7152, 0.0722])[::8]) > 0).all()


@pytest.mark.parametrize(
    ("width_px", "pixel_nm", "expected"),
    [
        (400, 10.0, (100, "1 um")),
        (400, 5.0, (100, "500 nm")),
        (768, 20.0, (100, "2 um")),
        (10, 0.4, (2, "1 nm")),
        (2, 10.0, (1, "5 nm")),
    ],
)
def test_scale_bar_is_round_and_at_most_a_quarter_or_so(width_px, pixel_nm, expected):
    assert scale_bar(width_px, pixel_nm) == expected


def test_resized_takes_the_nearest_pixel():
    image = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(resized(image, (4, 2)), [[1, 2], [1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(resized(np.arange(9, dtype=np.float32)[None], (1, 3)), [[1, 4, 7]])


def test_three_panels_side_by_side(tmp_path):
    write_preview(tmp_path / "p.png", [a_row(), a_row()], ["title"], pixel_nm=None)
    picture = drawn(tmp_path / "p.png")
    assert picture.shape[1] == 2 * MARGIN_PX + 3 * 400 + 2 * GAP_PX
    assert picture.shape[0] > 2 * 300
    contour = np.argwhere((picture == CONTOUR).all(2))
    third = MARGIN_PX + 2 * (400 + GAP_PX)
    assert contour[:, 1].min() == third + 100
    assert contour[:, 1].max() == third + 199
    # Two squares of 100 px with a rim of 2 px.
    assert len(contour) == 2 * (100**2 - 96**2)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_small_slices_are_magnified():
    mask = np.eye(40, 50, dtype=bool)
    row = PreviewSlice("", np.zeros((40, 50), np.uint8), mask.astype(np.uint8), mask)
    assert draw_preview([row], [], 10.0).width == 2 * MARGIN_PX + 3 * 250 + 2 * GAP_PX


def test_scale_bar_only_where_the_voxel_size_is_known():
    with_bar, without = (np.asarray(draw_preview([a_row()], [], nm)) for nm in (10.0, None))
    changed = np.argwhere((with_bar != without).any(2))
    assert len(changed)
    assert changed[:, 1].max() < MARGIN_PX + 400  # in the first panel


def test_one_slice_without_foreground_or_contrast(tmp_path):
    flat = ArrayVolume(np.full((1, 30, 20), 7, np.uint16))
    none = ArrayVolume(np.zeros((1, 30, 20), np.uint8))
    write_volume_preview(
        tmp_path / "p.png", flat, none, statistics_of(none.array), threshold=0.5, voxel_nm=None, title=()
    )
    picture = drawn(tmp_path / "p.png")
    assert not (picture == CONTOUR).all(2).any()
    assert (picture == 128).all(2).any()


def test_only_the_chosen_slices_are_read_from_both_grids(tmp_path):
    # The output has half the slices and half the pixels: its slice 1 lies in slice 3 of the image.
    image = ArrayVolume(np.random.default_rng(0).integers(0, 255, (6, 40, 60), np.uint8))
    output = ArrayVolume(np.zeros((3, 20, 30), np.uint8))
    output.array[1, 5:10, 5:10] = 255
    write_volume_preview(
        tmp_path / "p.png", image, output, statistics_of(output.array),
        threshold=0.5, voxel_nm=(50.0, 10.0, 10.0), title=("t",), count=1,
    )  # fmt: skip
    assert {(r.start[0], r.stop[0]) for r in image.regions} == {(3, 4)}
    assert {(r.start[0], r.stop[0]) for r in output.regions} == {(1, 2)}
    contour = np.argwhere((drawn(tmp_path / "p.png") == CONTOUR).all(2))
    zoom = preview.SMALL_PX // 60
    # The square covers pixels 10..19 of the image in both directions.
    assert np.ptp(contour, axis=0).tolist() == [10 * zoom - 1, 10 * zoom - 1]


def test_huge_slices_are_shrunk_and_read_in_bands(tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "BAND_BYTES", 100_000)
    height, width = 2501, 1999
    image = ArrayVolume(np.tile(np.arange(width, dtype=np.uint16), (1, height, 1)))
    output = ArrayVolume((image.array > 1000).astype(np.uint8) * 255)
    write_volume_preview(
        tmp_path / "p.png", image, output, statistics_of(output.array), threshold=0.5, voxel_nm=None, title=()
    )
    assert max(region.size * 2 for region in image.regions) <= 100_000
    assert sum(region.size for region in image.regions) == height * width  # once each
    panel = -(-width // 4)
    assert drawn(tmp_path / "p.png").shape[1] == 2 * MARGIN_PX + 3 * panel + 2 * GAP_PX


def test_bands_do_not_show(monkeypatch):
    volume = ArrayVolume(np.random.default_rng(1).integers(0, 60000, (1, 103, 57), np.uint16))
    whole = preview._read_reduced(volume, 0, 4, preview._block_means)
    monkeypatch.setattr(preview, "BAND_BYTES", 1)
    np.testing.assert_array_equal(preview._read_reduced(volume, 0, 4, preview._block_means), whole)
    assert whole.shape == (26, 15)
    assert whole[0, 0] == pytest.approx(volume.array[0, :4, :4].mean())
    assert whole[-1, -1] == pytest.approx(volume.array[0, 100:, 56:].mean())


def test_unwritable_is_one_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "p.png").mkdir()  # a folder stands where the file should go
    with pytest.raises(OutputError, match=r"preview .*p\.png cannot be written"):
        write_preview(tmp_path / "p.png", [a_row()], [], pixel_nm=None)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
