"""OME-Zarr 0.5: probabilities as the image, the mask as its label, both as sharded pyramids (docs/sinks.md).

The metadata is a few lines of JSON, put in as Zarr attributes: the libraries that model it bring dask or
xarray, which the lean runtime does without. They check it in `tests/interop/check_ome_zarr.py`.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from dmn_runtime.errors import ResumeError
from dmn_runtime.geometry import Region, Spacing, ceil_div
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.block import check_block
from dmn_runtime.sink.disk import move_into_place, remove, translate_os_errors
from dmn_runtime.sink.paths import partial_path
from dmn_runtime.sink.pyramid import Level, mean_levels, nearest_levels, plan_pyramid
from dmn_runtime.whole_file import whole_file

VERSION = "0.5"
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
"""RGB of class 1, 2, ..., which colour-blind eyes tell apart (Okabe and Ito 2008); repeats after the last."""

# The writer shares the cores with the network, so speed comes before size; the bytes of uint8 have nothing to
# shuffle (docs/sinks.md has the figures).
_COMPRESSOR = BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle")
# Zarr's test for empty chunks costs more than compressing them, and a file for every block can be counted.
_CONFIG: Any = {"write_empty_chunks": True}


@final
class OmeZarrSink:
    """An OME-Zarr 0.5 under construction. See `dmn_runtime.sink.base.Sink`."""

    def __init__(self, spec: SinkSpec, *, resume: bool) -> None:
        self.spec = spec
        self._levels = plan_pyramid(spec.shape, spec.block, spec.voxel_nm)
        root = partial_path(spec.path)
        self._probability, self._mask = (
            _reopen(root, self._levels) if resume else _create(root, spec, self._levels)
        )

    def write(self, region: Region, probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Write one whole block: one shard file of each level, each by a temporary sibling and a rename."""
        check_block(self.spec, region, probability, mask)
        with translate_os_errors(self.spec.path, resumable=True):
            self._write_levels(region, self._probability, mean_levels(probability, self._levels))
            self._write_levels(region, self._mask, nearest_levels(mask, self._levels))
            self._sync(region)

    def _write_levels(
        self, region: Region, arrays: list[zarr.Array[Any]], blocks: Iterable[NDArray[np.uint8]]
    ) -> None:
        for level, array, block in zip(self._levels, arrays, blocks, strict=True):
            array[level.region(region).slices] = block

    def _sync(self, region: Region) -> None:
        """Bring the block's shards to the disk: the ledger's line must not get there before the voxels."""
        root = partial_path(self.spec.path)
        at = [str(a // b) for a, b in zip(region.start, self.spec.block, strict=True)]
        for image in (root, root / "labels" / "mask"):
            for index in range(len(self._levels)):
                with image.joinpath(str(index), "c", *at).open("r+b") as shard:
                    os.fsync(shard.fileno())

    def finish(self) -> None:
        """Move the output to its final path; an old one is removed once the new one stands there."""
        with translate_os_errors(self.spec.path, resumable=True):
            move_into_place(partial_path(self.spec.path), self.spec.path)

    def close(self) -> None:
        """Hold nothing open between two calls, so there is nothing to let go of."""


def _create(
    root: Path, spec: SinkSpec, levels: tuple[Level, ...]
) -> tuple[list[zarr.Array[Any]], list[zarr.Array[Any]]]:
    image = zarr.create_group(root, attributes={"ome": image_metadata(spec, levels)})
    labels = image.create_group("labels", attributes={"ome": {"version": VERSION, "labels": ["mask"]}})
    mask = labels.create_group("mask", attributes={"ome": label_metadata(spec, levels)})
    return _create_arrays(image, levels), _create_arrays(mask, levels)


def _create_arrays(group: zarr.Group, levels: tuple[Level, ...]) -> list[zarr.Array[Any]]:
    return [
        group.create_array(
            str(index),
            shape=level.shape,
            shards=level.shard,
            chunks=level.chunk,
            dtype="uint8",
            fill_value=0,
            compressors=_COMPRESSOR,
            dimension_names=("z", "y", "x"),
            config=_CONFIG,
        )
        for index, level in enumerate(levels)
    ]


def _reopen(root: Path, levels: tuple[Level, ...]) -> tuple[list[zarr.Array[Any]], list[zarr.Array[Any]]]:
    _sweep(root)
    return _reopen_arrays(root, levels), _reopen_arrays(root / "labels" / "mask", levels)


def _sweep(root: Path) -> None:
    """Remove the temporary files of writes that were killed: everything but metadata and whole shards."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name != "zarr.json" and not name.isdigit():
                Path(folder, name).unlink()


def _reopen_arrays(group: Path, levels: tuple[Level, ...]) -> list[zarr.Array[Any]]:
    return [_reopen_array(group / str(index), level) for index, level in enumerate(levels)]


def _reopen_array(path: Path, level: Level) -> zarr.Array[Any]:
    try:
        # open_array takes a config too, and drops it for an array that exists
        array = zarr.open_array(path, mode="r+").with_config(_CONFIG)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path} is damaged ({error}): start anew with --overwrite") from error
    found, wanted = (array.shape, array.shards, array.chunks), (level.shape, level.shard, level.chunk)
    if found != wanted:
        raise ResumeError(
            f"{path} has shape, shard and chunk {found}, this run writes {wanted}: give the settings it was "
            "begun with, or start anew with --overwrite"
        )
    return array


def resize(spec: SinkSpec) -> None:
    """Give the partial output that is there the depth of `spec`; blocks that both have stay as they are.

    Shards are addressed by their place, so that only the descriptions change. Killed anywhere, it can be
    done again, to this or another depth.

    Raises:
        ResumeError: a description is damaged.
        OutputError, OSError: it cannot be written.
    """
    root = partial_path(spec.path)
    for image in (root, root / "labels" / "mask"):
        for index, level in enumerate(plan_pyramid(spec.shape, spec.block, spec.voxel_nm)):
            _resize_array(image / str(index), level)


def _resize_array(array: Path, level: Level) -> None:
    path = array / "zarr.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        description["shape"] = list(level.shape)
    except (OSError, ValueError, TypeError) as error:
        raise ResumeError(f"{path} is damaged ({error}): start anew with --overwrite") from error
    with whole_file(path, "description") as new:
        new.write_text(json.dumps(description, indent=2), encoding="utf-8")
    slabs = ceil_div(level.shape[0], level.shard[0])
    for beyond in (array / "c").glob("*"):
        if beyond.name.isdigit() and int(beyond.name) >= slabs:
            remove(beyond)


def image_metadata(spec: SinkSpec, levels: tuple[Level, ...]) -> dict[str, Any]:
    """Return the `ome` attribute of the root group, the image of probabilities."""
    colour = "".join(f"{part:02X}" for part in COLOURS[0])
    return {
        "version": VERSION,
        "multiscales": [_multiscale("probability", "mean", spec.voxel_nm, levels)],
        "omero": {
            "name": "probability",
            "channels": [
                {
                    "label": f"probability of {', '.join(spec.classes)}",
                    "color": colour,
                    "active": True,
                    "window": {"min": 0, "start": 0, "end": 255, "max": 255},
                }
            ],
            "rdefs": {"model": "greyscale"},
        },
    }


def label_metadata(spec: SinkSpec, levels: tuple[Level, ...]) -> dict[str, Any]:
    """Return the `ome` attribute of the group `labels/mask`."""
    # readers expect each value that has a colour to have properties too
    names = ("background", *spec.classes)
    return {
        "version": VERSION,
        "multiscales": [_multiscale("mask", "nearest", spec.voxel_nm, levels)],
        "image-label": {
            "source": {"image": "../../"},
            "colors": [{"label-value": value, "rgba": _rgba(value)} for value in range(len(names))],
            "properties": [{"label-value": value, "class": name} for value, name in enumerate(names)],
        },
    }


def _rgba(value: int) -> list[int]:
    return [*COLOURS[(value - 1) % len(COLOURS)], 255] if value else [0, 0, 0, 0]


def _multiscale(
    name: str, method: str, voxel_nm: Spacing | None, levels: tuple[Level, ...]
) -> dict[str, Any]:
    unit = {} if voxel_nm is None else {"unit": "nanometer"}
    return {
        "name": name,
        "type": method,
        "axes": [{"name": axis, "type": "space", **unit} for axis in "zyx"],
        "datasets": [
            {
                "path": str(index),
                "coordinateTransformations": _transformations(voxel_nm or (1.0, 1.0, 1.0), level),
            }
            for index, level in enumerate(levels)
        ],
    }


def _transformations(voxel: Spacing, level: Level) -> list[dict[str, Any]]:
    """Scale, then the shift by which the centre of a coarse voxel lies off that of its first fine one."""
    scale = [float(edge * f) for edge, f in zip(voxel, level.factor, strict=True)]
    shift = [edge * (f - 1) / 2 for edge, f in zip(voxel, level.factor, strict=True)]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
