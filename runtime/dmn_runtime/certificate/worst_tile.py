"""A picture of the tile on which an engine strays most: image, both probabilities, both outlines."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmn_runtime.certificate.parity import mask
from dmn_runtime.whole_file import whole_file

_GAP_PX = 4
_Number = TypeVar("_Number", np.uint8, np.float32)
_AGREE, _MISSED, _INVENTED = (80, 200, 120), (230, 70, 60), (70, 120, 250)


def write_worst_tile(
    path: Path,
    tile: NDArray[np.float32],
    expected: NDArray[np.floating],
    found: NDArray[np.floating],
    thresholds: tuple[float, float],
) -> None:
    """Write four pictures side by side: image, expected and found probability, and the masks over the image.

    In the last one green is in both masks, red missed by `found`, blue invented by it.

    Args:
        path: PNG to write.
        tile: network input, chw; its middle slice is shown.
        expected: probability of the reference, hw.
        found: probability of what is examined, hw.
        thresholds: of the reference and of what is examined.

    Raises:
        OutputError: it cannot be written.
    """
    image = _grey(tile[len(tile) // 2])
    gap = np.full((image.shape[0], _GAP_PX, 3), 255, np.uint8)
    masks = _overlay(image, mask(expected, thresholds[0]), mask(found, thresholds[1]))
    panels = [_colour(image), gap, _colour(_unit(expected)), gap, _colour(_unit(found)), gap, masks]
    with whole_file(path, "picture") as partial:
        Image.fromarray(np.hstack(panels)).save(partial, "png")


def core_of(tile: NDArray[_Number], halo_px: int) -> NDArray[_Number]:
    """Return a tile, chw, without its halo: what was compared."""
    return tile[:, halo_px : tile.shape[1] - halo_px, halo_px : tile.shape[2] - halo_px]


def _grey(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(plane.min()), float(plane.max())
    scaled: NDArray[np.uint8] = ((plane - low) / max(high - low, 1e-9) * 255.0).astype(np.uint8)
    return scaled


def _unit(probability: NDArray[np.floating]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(probability), 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey


def _colour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


def _overlay(
    image: NDArray[np.uint8], expected: NDArray[np.bool_], found: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    picture = _colour(image).astype(np.uint16)
    kinds = ((expected & found, _AGREE), (expected & ~found, _MISSED), (~expected & found, _INVENTED))
    for where, colour in kinds:
        picture[where] = (picture[where] + np.array(colour, np.uint16)) // 2
    return picture.astype(np.uint8)
