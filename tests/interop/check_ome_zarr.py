"""Check an OME-Zarr 0.5 that DMN wrote, with the libraries of others.

Run by a Python that has ome-zarr-models and ome-zarr (both need Python 3.12 or later, so not by the tests'
own): python check_ome_zarr.py STORE. Prints one line for each thing that holds; exits with 1 at the first
that does not.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image, ImageLabel, Labels


def main(store: str) -> None:
    group = zarr.open_group(store, mode="r")
    image, labels = Image.from_zarr(group), Labels.from_zarr(group["labels"])
    say(f"ome-zarr-models: {store} is an OME-Zarr {image.attributes.ome.version} image")
    names = labels.attributes.ome.labels
    must(list(names) == ["mask"], f"labels/ lists {names}, not ['mask']")
    ImageLabel.from_zarr(group["labels/mask"])
    say("ome-zarr-models: labels/mask is an OME-Zarr 0.5 image label")

    nodes = {Path(str(node.zarr.path)).name: node for node in Reader(parse_url(store))()}
    read_back(nodes[Path(store).name], group)
    read_back(nodes["mask"], group["labels/mask"])
    must(group["0"].shape == group["labels/mask/0"].shape, "image and mask differ in shape")
    say(f"image and mask have the shape {group['0'].shape}")


def read_back(node, group: zarr.Group) -> None:
    """Read each level through ome-zarr and compare it with the bare array."""
    shapes = [level.shape for level in node.data]
    must(len(shapes) == len(list(group.arrays())), f"{node}: ome-zarr sees {len(shapes)} levels")
    for index, level in enumerate(node.data):
        array = group[str(index)]
        must(level.shape == array.shape, f"{node} level {index}: {level.shape}, the array is {array.shape}")
        corner = tuple(slice(0, min(64, n)) for n in array.shape)
        must(np.array_equal(level[corner].compute(), array[corner]), f"{node} level {index}: other voxels")
    for fine, coarse in pairwise(shapes):
        halves = all(c in (f, -(-f // 2)) for f, c in zip(fine, coarse, strict=True))
        must(halves, f"{node}: {coarse} is not {fine} halved")
    say(f"ome-zarr: {node} read back, levels {' '.join('x'.join(map(str, s)) for s in shapes)}")


def must(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"FAILED {otherwise}")


def say(what: str) -> None:
    sys.stdout.write(f"OK {what}\n")


if __name__ == "__main__":
    main(sys.argv[1])
