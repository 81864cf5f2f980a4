import numpy as np
import pytest
import tifffile
import zarr

from dmn_runtime.layout import layout_words
from dmn_runtime.volume.open import open_volume

VOXELS = np.zeros((2, 64, 48), np.uint8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "whole slices, uncompressed"),
        ({"rowsperstrip": 16, "compression": "deflate"}, "strips of 16 rows, deflate compression"),
        ({"tile": (32, 16)}, "tiles of 32 x 16 px, uncompressed"),
    ],
)
def test_tiffs(tmp_path, options, words):
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, VOXELS, photometric="minisblack", **options)
    with open_volume(path) as volume:
        assert layout_words(volume) == words


def test_a_folder_of_tiffs_is_told_by_its_first_slice(tmp_path):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"{z}.tif", VOXELS[z], photometric="minisblack", rowsperstrip=8)
    with open_volume(tmp_path) as volume:
        assert layout_words(volume) == "strips of 8 rows, uncompressed"


def test_zarr_arrays(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=VOXELS, chunks=(1, 32, 16))
    zarr.create_array(tmp_path / "b.zarr", data=VOXELS, chunks=(1, 32, 16), shards=(2, 64, 48))
    with open_volume(tmp_path / "a.zarr") as volume:
        assert layout_words(volume) == "chunks of 1 x 32 x 16"
    with open_volume(tmp_path / "b.zarr") as volume:
        assert layout_words(volume) == "chunks of 1 x 32 x 16 in shards of 2 x 64 x 48"


def test_an_array_inside_a_group(tmp_path):
    zarr.open_group(tmp_path / "g.zarr", mode="w").create_array("raw", data=VOXELS, chunks=(2, 8, 8))
    with open_volume(tmp_path / "g.zarr") as volume:
        assert layout_words(volume) == "chunks of 2 x 8 x 8"
    with open_volume(f"{tmp_path / 'g.zarr'}::raw") as volume:
        assert layout_words(volume) == "chunks of 2 x 8 x 8"


def test_an_image_is_told_by_its_finest_level(tmp_path):
    group = zarr.open_group(tmp_path / "i.ome.zarr", mode="w")
    levels = [("fine", VOXELS, 5.0), ("coarse", VOXELS[:, ::2, ::2], 10.0)]
    for path, voxels, _ in levels:
        group.create_array(path, data=voxels, chunks=(1, *voxels.shape[1:]))
    datasets = [
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [nm, nm, nm]}]}
        for path, _, nm in levels
    ]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    with open_volume(tmp_path / "i.ome.zarr") as volume:
        assert layout_words(volume) == "chunks of 1 x 64 x 48"


def test_formats_with_one_layout_have_no_words(tmp_path):
    from PIL import Image

    Image.fromarray(VOXELS[0]).save(tmp_path / "a.png")
    with open_volume(tmp_path / "a.png") as volume:
        assert layout_words(volume) is None
