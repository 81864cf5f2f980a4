"""The picture of the worst tile: four panels side by side, and what each colour says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmn_runtime.certificate.worst_tile import write_worst_tile
from dmn_runtime.errors import OutputError

HEIGHT, WIDTH, GAP = 8, 6, 4
BLACK_TILE = np.zeros((1, HEIGHT, WIDTH), np.float32)


def picture(
    path: Path,
    tile: np.ndarray,
    expected: np.ndarray,
    found: np.ndarray,
    thresholds: tuple[float, float] = (0.5, 0.5),
) -> list[np.ndarray]:
    """Write it and return its four panels, height x width x 3."""
    write_worst_tile(path, tile, expected, found, thresholds)
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
    assert pixels.shape == (HEIGHT, 4 * WIDTH + 3 * GAP, 3)
    starts = [index * (WIDTH + GAP) for index in range(4)]
    for start in starts[1:]:
        assert (pixels[:, start - GAP : start] == 255).all()
    return [pixels[:, start : start + WIDTH] for start in starts]


def test_the_colours_say_where_masks_agree_miss_and_invent(tmp_path: Path) -> None:
    expected, found = np.zeros((2, HEIGHT, WIDTH))
    expected[0:2], found[1:3] = 0.9, 0.9
    masks = picture(tmp_path / "worst.png", BLACK_TILE, expected, found)[3]
    assert (masks[0] == np.array([230, 70, 60]) // 2).all()  # missed: red over black
    assert (masks[1] == np.array([80, 200, 120]) // 2).all()  # in both: green
    assert (masks[2] == np.array([70, 120, 250]) // 2).all()  # invented: blue
    assert (masks[3:] == 0).all()


def test_each_side_has_its_own_threshold(tmp_path: Path) -> None:
    same = np.full((HEIGHT, WIDTH), 0.4)
    masks = picture(tmp_path / "worst.png", BLACK_TILE, same, same, (0.5, 0.3))[3]
    assert (masks == np.array([70, 120, 250]) // 2).all()


def test_the_image_is_the_middle_slice_from_black_to_white(tmp_path: Path) -> None:
    tile = np.stack(
        [BLACK_TILE[0] + 7, np.linspace(-2, 2, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH), BLACK_TILE[0]]
    )
    probability = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))
    image, expected, found, _ = picture(
        tmp_path / "worst.png", tile.astype(np.float32), probability, 1 - probability
    )
    assert (image[0, 0] == 0).all()
    assert (image[-1, -1] >= 254).all()
    assert (np.diff(image[..., 0].ravel().astype(int)) > 0).all()
    np.testing.assert_array_equal(expected[0, :, 0], [0, 51, 102, 153, 204, 255])
    np.testing.assert_array_equal(found, expected[:, ::-1])


def test_what_is_no_number_is_drawn_as_background(tmp_path: Path) -> None:
    found = np.full((HEIGHT, WIDTH), np.nan)
    panels = picture(tmp_path / "worst.png", BLACK_TILE, np.zeros((HEIGHT, WIDTH)), found)
    assert not any(panel.any() for panel in panels)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    empty = np.zeros((HEIGHT, WIDTH))
    with pytest.raises(OutputError, match=r"the picture .*worst\.png cannot be written"):
        picture(tmp_path / "nowhere" / "worst.png", BLACK_TILE, empty, empty)
    assert list(tmp_path.iterdir()) == []
