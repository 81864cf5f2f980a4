import json
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr

from dmn_runtime.geometry import Region
from dmn_runtime.sink.open import discard_partial, open_sink, partial_path

from .conftest import SHAPE, blocks_of, make_probability, tree


def write(spec, probability: np.ndarray) -> zarr.Group:
    with closing(open_sink(spec, resume=False)) as sink:
        for region in blocks_of(spec):
            p = probability[region.slices]
            sink.write(region, p, (p >= 128).astype(np.uint8))
        sink.finish()
    return zarr.open_group(spec.path, mode="r")


def test_levels_round_trip(tmp_path: Path, make_spec) -> None:
    probability = make_probability(SHAPE)
    group = write(make_spec(tmp_path / "out.ome.zarr"), probability)

    np.testing.assert_array_equal(group["0"], probability)
    np.testing.assert_array_equal(group["labels/mask/0"], probability >= 128)
    # 8 nm thick slices of 4 nm pixels: first y and x, then all three; 600 -> 300 -> 150
    assert [group[str(k)].shape for k in range(3)] == [(5, 600, 300), (5, 300, 150), (3, 150, 75)]
    coarse = probability[4:, 8:12, 4:8].astype(int)
    assert group["2"][2, 2, 1] == (2 * coarse.sum() + 16) // 32
    np.testing.assert_array_equal(group["labels/mask/2"], (probability >= 128)[::2, ::4, ::4])


def test_metadata(tmp_path: Path, make_spec) -> None:
    group = write(make_spec(tmp_path / "out.ome.zarr"), make_probability(SHAPE))

    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    datasets = [
        {
            "path": path,
            "coordinateTransformations": [
                {"type": "scale", "scale": scale},
                {"type": "translation", "translation": shift},
            ],
        }
        for path, scale, shift in (
            ("0", [8.0, 4.0, 4.0], [0.0, 0.0, 0.0]),
            ("1", [8.0, 8.0, 8.0], [0.0, 2.0, 2.0]),
            ("2", [16.0, 16.0, 16.0], [4.0, 6.0, 6.0]),
        )
    ]
    image = group.attrs["ome"]
    assert image["version"] == "0.5"
    assert image["multiscales"] == [
        {"name": "probability", "type": "mean", "axes": axes, "datasets": datasets}
    ]
    assert image["omero"]["channels"][0]["window"] == {"min": 0, "start": 0, "end": 255, "max": 255}
    assert group["labels"].attrs["ome"] == {"version": "0.5", "labels": ["mask"]}
    assert group["labels/mask"].attrs["ome"] == {
        "version": "0.5",
        "multiscales": [{"name": "mask", "type": "nearest", "axes": axes, "datasets": datasets}],
        "image-label": {
            "source": {"image": "../../"},
            "colors": [
                {"label-value": 0, "rgba": [0, 0, 0, 0]},
                {"label-value": 1, "rgba": [230, 159, 0, 255]},
            ],
            "properties": [
                {"label-value": 0, "class": "background"},
                {"label-value": 1, "class": "mitochondria"},
            ],
        },
    }


def test_unknown_voxel_size_has_no_unit(tmp_path: Path, make_spec) -> None:
    group = write(make_spec(tmp_path / "out.zarr", voxel_nm=None), make_probability(SHAPE))

    multiscale = group.attrs["ome"]["multiscales"][0]
    assert multiscale["axes"] == [{"name": name, "type": "space"} for name in "zyx"]
    assert multiscale["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 2.0, 2.0]},
        {"type": "translation", "translation": [0.0, 0.5, 0.5]},
    ]


def test_arrays_are_sharded_by_block(tmp_path: Path, make_spec) -> None:
    write(make_spec(tmp_path / "out.zarr"), make_probability(SHAPE))

    metadata = json.loads((tmp_path / "out.zarr" / "1" / "zarr.json").read_text())
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [4, 128, 128]
    (sharding,) = metadata["codecs"]
    assert sharding["name"] == "sharding_indexed"
    assert sharding["configuration"]["codecs"][1] == {
        "name": "blosc",
        "configuration": {
            "cname": "lz4",
            "clevel": 5,
            "shuffle": "noshuffle",
            "typesize": 1,
            "blocksize": 0,
        },
    }
    assert metadata["dimension_names"] == ["z", "y", "x"]


@pytest.mark.parametrize("resume", [False, True])
def test_one_block_is_one_file_a_level_also_where_it_is_empty(
    tmp_path: Path, make_spec, resume: bool
) -> None:
    spec = make_spec(tmp_path / "out.zarr")
    open_sink(spec, resume=False).close()
    before = set(tree(partial_path(spec.path)))
    if not resume:
        discard_partial(spec.path)
    empty = np.zeros((4, 256, 256), np.uint8)
    with closing(open_sink(spec, resume=resume)) as sink:
        sink.write(Region((0, 256, 0), (4, 512, 256)), empty, empty)

    written = set(tree(partial_path(spec.path))) - before
    assert written == {f"{image}{level}/c/0/1/0" for image in ("", "labels/mask/") for level in range(3)}


def test_shard_is_replaced_whole(tmp_path: Path, make_spec) -> None:
    """A kill in the middle of a write must leave the old shard or the new one: a rename, not a rewrite."""
    spec = make_spec(tmp_path / "out.zarr")
    region = Region((0, 0, 0), (4, 256, 256))
    shard = partial_path(spec.path) / "0" / "c" / "0" / "0" / "0"
    with closing(open_sink(spec, resume=False)) as sink:
        sink.write(region, np.full(region.shape, 1, np.uint8), np.ones(region.shape, np.uint8))
        first = shard.read_bytes()
        os.link(shard, tmp_path / "first")
        sink.write(region, np.full(region.shape, 2, np.uint8), np.ones(region.shape, np.uint8))

    assert (tmp_path / "first").read_bytes() == first
    assert shard.read_bytes() != first


def test_resume_sweeps_what_killed_writes_left(tmp_path: Path, make_spec) -> None:
    spec = make_spec(tmp_path / "out.zarr")
    open_sink(spec, resume=False).close()
    shards = partial_path(spec.path) / "labels" / "mask" / "1" / "c" / "0" / "0"
    shards.mkdir(parents=True)
    (shards / "0").write_bytes(b"shard")
    (shards / "0.3f2a.partial").write_bytes(b"half a sh")

    open_sink(spec, resume=True)

    assert [p.name for p in shards.iterdir()] == ["0"]
