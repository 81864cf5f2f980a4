"""OME-Zarr and plain Zarr: what is chosen, what is refused, which voxel size."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import whole
from dmn_runtime.volume.open import open_volume

VOLUME = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
SPACE = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]


def refusal(path: str | Path) -> str:
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    return str(caught.value)


def image(axes: list[dict[str, str]], *scales: list[float], **more: Any) -> dict[str, Any]:
    levels = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for i, scale in enumerate(scales)
    ]
    return {"axes": axes, "datasets": levels, **more}


def written(path: Path, attributes: dict[str, Any], *arrays: np.ndarray, zarr_format: Any = 3) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes=attributes)
    for i, array in enumerate(arrays):
        group.create_array(str(i), data=array)
    return path


def test_level_0_and_its_voxel_size(tmp_path: Path) -> None:
    ome = {"version": "0.5", "multiscales": [image(SPACE, [40, 5, 4], [40, 10, 8])]}
    path = written(tmp_path / "a.zarr", {"ome": ome}, VOLUME, VOLUME[:, ::2, ::2])
    with open_volume(path) as volume:
        assert (volume.format, volume.voxel_nm) == ("OME-Zarr 0.5", (40, 5, 4))
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), VOLUME)
    with open_volume(f"{path}::1") as volume:
        assert (volume.shape, volume.voxel_nm) == ((4, 3, 4), (40, 10, 8))


def test_scale_of_the_whole_image_multiplies(tmp_path: Path) -> None:
    axes = [{"name": "c", "type": "channel"}, *({**axis, "unit": "angstrom"} for axis in SPACE)]
    common = [
        {"type": "scale", "scale": [1, 10, 10, 10]},
        {"type": "translation", "translation": [0, 1, 2, 3]},
    ]
    described = image(axes, [1, 40, 5, 4], version="0.4", coordinateTransformations=common)
    path = written(tmp_path / "a.zarr", {"multiscales": [described]}, VOLUME[None], zarr_format=2)
    with open_volume(path) as volume:
        assert (volume.format, volume.voxel_nm) == ("OME-Zarr 0.4", (40, 5, 4))


def test_axis_without_unit(tmp_path: Path) -> None:
    axes = [{"name": n, "type": "space"} for n in "zyx"]
    path = written(tmp_path / "a.zarr", {"multiscales": [image(axes, [1, 1, 1])]}, VOLUME, zarr_format=2)
    with open_volume(path) as volume:
        assert volume.voxel_nm is None


def test_thin_volume_keeps_its_axes(tmp_path: Path) -> None:
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *SPACE]
    thin = VOLUME[:, :1]
    ome = {"version": "0.5", "multiscales": [image(axes, [1, 1, 9, 9, 9])]}
    with open_volume(written(tmp_path / "a.zarr", {"ome": ome}, thin[None, None])) as volume:
        assert volume.shape == (4, 1, 8)
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), thin)


def test_image_of_two_axes(tmp_path: Path) -> None:
    ome = {"version": "0.5", "multiscales": [image(SPACE[1:], [5, 4])]}
    with open_volume(written(tmp_path / "a.zarr", {"ome": ome}, VOLUME[0])) as volume:
        assert (volume.shape, volume.voxel_nm) == ((1, 6, 8), (5, 5, 4))
        np.testing.assert_array_equal(volume.read(whole(volume.shape))[0], VOLUME[0])


@pytest.mark.parametrize(
    ("names", "shape"),
    [("czyx", (2, 4, 6, 8)), ("tzyx", (2, 4, 6, 8)), ("xyz", (8, 6, 4)), ("cyx", (2, 6, 8))],
)
def test_other_axes_are_refused(tmp_path: Path, names: str, shape: tuple[int, ...]) -> None:
    axes = [{"name": n, "type": "space"} for n in names]
    described = {"ome": {"version": "0.5", "multiscales": [image(axes, [1.0] * len(names))]}}
    path = written(tmp_path / "a.zarr", described, np.zeros(shape, np.uint8))
    assert f"has the axes {', '.join(names)} of the shape {shape}, but z, y, x" in refusal(path)


def test_other_versions_are_refused_but_for_the_named_array(tmp_path: Path) -> None:
    described = {"multiscales": [{"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}]}
    path = written(tmp_path / "a.zarr", described, VOLUME, zarr_format=2)
    assert "is OME-Zarr 0.3, but 0.4 or 0.5 is wanted: name the array" in refusal(path)
    with open_volume(f"{path}::0") as volume:
        assert (volume.format, volume.voxel_nm) == ("Zarr 2", None)


def test_several_images_are_refused(tmp_path: Path) -> None:
    one = image(SPACE, [1, 1, 1])
    path = written(tmp_path / "a.zarr", {"ome": {"version": "0.5", "multiscales": [one, one]}}, VOLUME)
    assert "holds 2 multiscale images" in refusal(path)


def test_group_with_one_volume_and_masks_in_a_label_group(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", {}, VOLUME[0], VOLUME)
    label = {"ome": {"version": "0.5", "multiscales": [image(SPACE, [40, 5, 4])]}}
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), VOLUME)
    labels = zarr.open_group(path).create_group("labels").create_group("mito", attributes=label)
    labels.create_array("0", data=VOLUME % 2)
    (path / "labels" / "notes.txt").write_text("zarr would warn of it")
    with open_volume(f"{path}::labels/mito") as volume:
        assert volume.voxel_nm == (40, 5, 4)
        np.testing.assert_array_equal(volume.read(whole(volume.shape)), VOLUME % 2)
    assert "holds the datasets 0 (6x8), 1 (4x6x8), labels/mito/0 (4x6x8): name the one" in refusal(path)


def test_wrong_path_lists_the_arrays(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", {}, VOLUME)
    assert refusal(f"{path}::raw") == f"{path} has no dataset 'raw': it holds the dataset 0 (4x6x8)"
    zarr.create_array(tmp_path / "b.zarr", data=VOLUME)
    assert refusal(f"{tmp_path / 'b.zarr'}::raw").endswith(
        "has no dataset 'raw': it holds the dataset / (4x6x8)"
    )


def test_group_without_arrays(tmp_path: Path) -> None:
    assert "holds no datasets" in refusal(written(tmp_path / "a.zarr", {}))


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32"])
def test_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    path = written(tmp_path / "a.zarr", {}, VOLUME.astype(dtype))
    assert f"{path}::0 holds {dtype} voxels" in refusal(path)


def test_folder_named_zarr_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    assert "is not a Zarr store: it holds none of zarr.json, .zgroup, .zarray" in refusal(tmp_path / "a.zarr")


def test_store_without_the_suffix(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "grey", data=VOLUME)
    with open_volume(tmp_path / "grey") as volume:
        assert volume.format == "Zarr 3"


def test_vanished_store_is_not_read_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=VOLUME)
    with open_volume(path) as volume:
        shutil.rmtree(path)
        with pytest.raises(VolumeError, match="vanished while it was read"):
            volume.read(whole(volume.shape))


def test_damaged_description(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=VOLUME)
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    assert "cannot be read as Zarr" in refusal(path)
