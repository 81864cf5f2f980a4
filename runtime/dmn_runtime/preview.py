"""The preview: one PNG that shows, slice by slice, the image, the probability and the outline of the mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dmn_runtime.geometry import Region, Spacing, ceil_div
from dmn_runtime.slice_statistics import SliceStatistics, choose_slices
from dmn_runtime.tiles import grey_threshold
from dmn_runtime.volume.base import Volume
from dmn_runtime.whole_file import whole_file

__all__ = ["PreviewSlice", "SliceStatistics", "choose_slices", "write_preview", "write_volume_preview"]

EDGE_PX = 768
"""Longest edge of one panel."""
SMALL_PX = 256
"""Panels with a longer edge below this are magnified by a whole number."""
BAND_BYTES = 16 << 20
"""About how much of a slice is read at once."""

Rgb = tuple[int, int, int]
BACKGROUND: Rgb = (17, 19, 24)
INK: Rgb = (232, 234, 238)
FAINT: Rgb = (146, 152, 163)
CONTOUR: Rgb = (255, 176, 0)
MARGIN_PX, GAP_PX = 28, 14
COLUMNS = ("image", "probability", "mask outline")

_ANCHORS: tuple[Rgb, ...] = (
    (8, 12, 32), (24, 44, 98), (40, 84, 140), (66, 124, 150),
    (118, 158, 138), (196, 186, 98), (255, 236, 150),
)  # fmt: skip


def colour_table() -> NDArray[np.uint8]:
    """Return 256 colours (256, 3) from dark blue to pale yellow.

    Luminance rises all the way and hue runs along the blue-yellow axis, which red-green blindness leaves.
    """
    at = np.linspace(0, len(_ANCHORS) - 1, 256)
    channels = [
        np.interp(at, np.arange(len(_ANCHORS)), [colour[channel] for colour in _ANCHORS])
        for channel in range(3)
    ]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


@dataclass(frozen=True)
class PreviewSlice:
    """One row of the preview; the three arrays have one shape, yx.

    Attributes:
        label: what stands above the row ("slice 12 of 40, ...").
        image: uint8 grey values, ready to show.
        probability: uint8, 255 = certain foreground.
        mask: bool.
    """

    label: str
    image: NDArray[np.uint8]
    probability: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def outline(mask: NDArray[np.bool_], width_px: int = 1) -> NDArray[np.bool_]:
    """Return the foreground pixels within `width_px` steps (along y or x) of background.

    The border of the picture is no background, so that objects that go on beyond it stay open there.
    """
    core = mask
    for _ in range(width_px):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


def write_volume_preview(
    path: Path,
    volume: Volume,
    probability: Volume,
    statistics: SliceStatistics,
    *,
    threshold: float,
    voxel_nm: Spacing | None,
    title: Sequence[str],
    count: int = 3,
) -> None:
    """Write the preview of an output, reading only the slices that it shows, a band of rows at a time.

    Args:
        path: the PNG.
        volume: the image.
        probability: the output's probabilities (uint8), on the image's grid or a coarser one.
        statistics: of the output.
        threshold: from which a voxel is foreground, 0 to 1.
        voxel_nm: voxel size of the image; None leaves the scale bar out.
        title: lines at the head.
        count: how many slices.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        VolumeError: a slice cannot be read.
    """
    shrink = _shrink(volume.shape)
    rows = []
    for z in choose_slices(statistics, count):
        # The middle of the output's slice lies in this slice of the image.
        z_image = (2 * z + 1) * volume.shape[0] // (2 * probability.shape[0])
        grey = _to_grey(_read_reduced(volume, z_image, shrink, _block_means))
        share = resized(_read_reduced(probability, z, _shrink(probability.shape), _block_means), grey.shape)
        picked = resized(_read_reduced(probability, z, _shrink(probability.shape), _corners), grey.shape)
        label = (
            f"slice {z_image + 1} of {volume.shape[0]}   ·   "
            f"foreground {100 * statistics.foreground_shares()[z]:.1f} %   ·   "
            f"uncertain {100 * statistics.uncertain_shares()[z]:.1f} %"
        )
        mask = picked >= grey_threshold(threshold)
        rows.append(PreviewSlice(label, grey, np.rint(share).astype(np.uint8), mask))
    write_preview(path, rows, title, pixel_nm=None if voxel_nm is None else voxel_nm[2] * shrink)


def _shrink(shape: tuple[int, int, int]) -> int:
    return ceil_div(max(shape[1:]), EDGE_PX)


Reduction = Callable[[NDArray[np.generic], int], NDArray[np.float32]]


def _read_reduced(volume: Volume, z: int, factor: int, reduce: Reduction) -> NDArray[np.float32]:
    """Read one slice, shrunk `factor` times, in bands of whole rows so that memory stays bounded."""
    _, height, width = volume.shape
    rows = max(1, BAND_BYTES // (factor * width * volume.dtype.itemsize)) * factor
    bands = [
        reduce(volume.read(Region((z, y, 0), (z + 1, min(y + rows, height), width)))[0], factor)
        for y in range(0, height, rows)
    ]
    return np.concatenate(bands)


def _block_means(band: NDArray[np.generic], factor: int) -> NDArray[np.float32]:
    """Mean of each block of factor x factor pixels; blocks at the far edges may be smaller."""
    starts = [np.arange(0, n, factor) for n in band.shape]
    sizes = [np.diff(np.append(s, n)) for s, n in zip(starts, band.shape, strict=True)]
    sums = np.add.reduceat(np.add.reduceat(band, starts[0], axis=0, dtype=np.int64), starts[1], axis=1)
    return np.asarray(sums / np.outer(*sizes), np.float32)


def _corners(band: NDArray[np.generic], factor: int) -> NDArray[np.float32]:
    """First pixel of each block: a value that was really there, as a mask needs."""
    return band[::factor, ::factor].astype(np.float32)


def _to_grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch to 0..255 between the 0.5th and the 99.5th percentile; a constant image becomes mid-grey."""
    low, high = np.percentile(image, [0.5, 99.5])
    if high <= low:
        return np.full(image.shape, 128, np.uint8)
    stretched = np.clip((image - low) / (high - low), 0, 1)
    return np.asarray(np.rint(stretched * 255), np.uint8)


def resized(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return `image` (yx) on a grid of `shape` over the same field of view: the nearest pixel."""
    y, x = ((2 * np.arange(n) + 1) * old // (2 * n) for n, old in zip(shape, image.shape, strict=True))
    return image[np.ix_(y, x)]


def write_preview(
    path: Path, rows: Sequence[PreviewSlice], title: Sequence[str], *, pixel_nm: float | None
) -> None:
    """Draw the rows and write the PNG, whole or not at all.

    Args:
        path: the PNG.
        rows: at least one; all of one shape.
        title: lines at the head.
        pixel_nm: what one pixel of the rows measures in the plane; None leaves the scale bar out.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    picture = draw_preview(rows, title, pixel_nm)
    with whole_file(path, "preview") as partial:
        picture.save(partial, format="PNG", compress_level=1)


def draw_preview(rows: Sequence[PreviewSlice], title: Sequence[str], pixel_nm: float | None) -> Image.Image:
    """Return the preview as an RGB picture."""
    height, width = rows[0].image.shape
    zoom = max(1, SMALL_PX // max(height, width))
    height, width = height * zoom, width * zoom
    unit = 16 if width >= 360 else 12
    head = MARGIN_PX + round(1.9 * unit) * len(title) + (GAP_PX if title else 0) + round(2.0 * unit)
    row_px = round(1.9 * unit) + height + GAP_PX
    foot = round(1.2 * unit)
    columns = [MARGIN_PX + i * (width + GAP_PX) for i in range(len(COLUMNS))]
    total = columns[-1] + width + MARGIN_PX
    canvas = Image.new("RGB", (total, head + row_px * len(rows) + foot + MARGIN_PX), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _draw_head(draw, title, columns, head, unit)
    table = colour_table()
    for number, row in enumerate(rows):
        top = head + number * row_px
        draw.text((MARGIN_PX, top), row.label, FAINT, _font(unit - 2))
        top += round(1.9 * unit)
        for left, panel in zip(columns, _panels(row, zoom, table), strict=True):
            canvas.paste(Image.fromarray(panel), (left, top))
        if pixel_nm is not None:
            _draw_scale_bar(draw, (columns[0], top + height), width, pixel_nm / zoom, unit)
    bottom = head + row_px * len(rows)
    _draw_colour_bar(canvas, (columns[1], bottom), width, table, unit)
    return canvas


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_head(
    draw: ImageDraw.ImageDraw, title: Sequence[str], columns: Sequence[int], head: int, unit: int
) -> None:
    for number, line in enumerate(title):
        place = (MARGIN_PX, MARGIN_PX - unit // 2 + number * round(1.9 * unit))
        draw.text(place, line, INK if number == 0 else FAINT, _font(unit + 4 if number == 0 else unit))
    for left, name in zip(columns, COLUMNS, strict=True):
        draw.text((left, head - round(1.8 * unit)), name, INK, _font(unit))


def _panels(
    row: PreviewSlice, zoom: int, table: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    image, probability, mask = (
        np.repeat(np.repeat(part, zoom, 0), zoom, 1) for part in (row.image, row.probability, row.mask)
    )
    grey = np.stack([image] * 3, axis=2).astype(np.uint8)
    marked = grey.copy()
    marked[outline(mask.astype(bool), 2 if max(mask.shape) >= 400 else 1)] = CONTOUR
    return grey, table[probability], marked


def scale_bar(width_px: int, pixel_nm: float) -> tuple[int, str]:
    """Return the length in pixels (>= 1) and the label of a bar of about a quarter of the width.

    Lengths are 1, 2 or 5 times a power of ten nm; from 1000 nm on the label is in um, without the Greek
    letter, which Pillow's own font lacks.
    """
    most = 0.28 * width_px * pixel_nm
    power = 10.0 ** np.floor(np.log10(most))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= most))
    label = f"{length / 1000:g} um" if length >= 1000 else f"{length:g} nm"
    return max(1, round(length / pixel_nm)), label


def _draw_scale_bar(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, pixel_nm: float, unit: int
) -> None:
    length, label = scale_bar(width, pixel_nm)
    font = _font(unit)
    box = draw.textbbox((0, 0), label, font)
    wide = max(length, round(box[2] - box[0]))
    left, bottom = corner[0] + unit // 2, corner[1] - unit // 2
    plate = (left, bottom - round(2.1 * unit), left + wide + unit, bottom)
    draw.rectangle(plate, BACKGROUND)
    middle = (plate[0] + plate[2]) / 2
    draw.text((middle, plate[1] + unit // 4), label, INK, font, anchor="ma")
    draw.rectangle(
        (middle - length / 2, bottom - unit // 2 - 2, middle + length / 2, bottom - unit // 2), INK
    )


def _draw_colour_bar(
    canvas: Image.Image, corner: tuple[int, int], width: int, table: NDArray[np.uint8], unit: int
) -> None:
    bar = np.tile(table[np.linspace(0, 255, width).astype(int)], (unit // 2, 1, 1))
    canvas.paste(Image.fromarray(bar), corner)
    draw, below = ImageDraw.Draw(canvas), corner[1] + unit // 2 + 4
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        draw.text(
            (corner[0] + share * (width - 1), below), f"{share:g}", FAINT, _font(unit - 2), anchor=anchor
        )
