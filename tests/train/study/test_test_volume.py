"""Test volumes that cannot be tested on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from dmn_runtime.errors import RecipeError, VolumeError
from dmn_train.study.test_volume import TestVolume


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"slices": (0, 7)}, RecipeError, r"protocol.test.slices is \[0, 7\], but image.tif has 6"),
        ({"columns": (0, 129)}, RecipeError, "protocol.test.columns"),
        ({"voxel_nm": None}, RecipeError, "does not say its voxel size"),
        ({"mask": "small.tif"}, VolumeError, "name the labels of this image"),
        ({"mask": "unknown.tif", "slices": (1, 2)}, VolumeError, "no labelled voxel"),
    ],
)
def test_what_cannot_be_tested_on_is_refused(
    folder: Path,
    volume: Callable[..., TestVolume],
    keys: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    tifffile.imwrite(folder / "small.tif", mask[:5])
    mask[1] = 255
    tifffile.imwrite(folder / "unknown.tif", mask)
    with pytest.raises(error, match=said):
        _ = volume(**keys).classes
