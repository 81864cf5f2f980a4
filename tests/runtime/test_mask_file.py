import numpy as np
import pytest
import tifffile

from dmn_runtime.errors import VolumeError
from dmn_runtime.mask_file import open_mask


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[[0, np.nan], [np.nan, 1]]], np.float32), "float32 values, 2 of them NaN"),
        (np.array([[[0, 1], [1, 1]]], np.float64), "float64 values, wanted"),
        (np.array([[[0, 1], [1, 1]], [[0, -7], [1, 1]]], np.int16), "int16 values down to -7"),
        (np.array([[[0, 1], [1, 1]]], np.int32), "int32 values, wanted"),
    ],
)
def test_values_that_are_no_labels_are_named(tmp_path, values, words):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, values, photometric="minisblack")
    with pytest.raises(VolumeError) as caught:
        open_mask(path, "valid mask")
    assert str(caught.value).startswith(f"the valid mask {path} holds {words}")
    assert "\n" not in str(caught.value)


def test_a_mask_is_opened_as_any_volume(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.ones((2, 3, 4), np.uint8), photometric="minisblack")
    with open_mask(path, "mask") as mask:
        assert mask.shape == (2, 3, 4)


def test_other_faults_keep_the_readers_words(tmp_path):
    with pytest.raises(VolumeError, match="does not exist"):
        open_mask(tmp_path / "none.tif", "mask")
    (tmp_path / "text.tif").write_text("no TIFF")
    with pytest.raises(VolumeError, match=r"text\.tif") as caught:
        open_mask(tmp_path / "text.tif", "mask")
    assert "the mask" not in str(caught.value)
