"""What was understood of the two volumes, told before anything is trained."""

from collections.abc import Iterator
from pathlib import Path

from dmn_export.adapt.volumes import Volumes
from dmn_runtime.axis_order import order_doubt
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.volume.open import INNER, split_inner


def volume_words(volumes: Volumes) -> Iterator[str]:
    """Yield a sentence for each volume, and one for each whose voxel size is doubtful."""
    labels = _name(volumes.source.mask)
    yield f"source: {_one(volumes.source.image, volumes.source_shape, volumes.source_nm)}, labels {labels}"
    yield f"target: {_one(volumes.target, volumes.target_shape, volumes.target_nm)}"
    for name, voxel_nm in (("source", volumes.source_nm), ("target", volumes.target_nm)):
        doubt = order_doubt(voxel_nm)
        if doubt is not None:
            yield f"of the {name}, {doubt}"


def _name(path: str) -> str:
    """Return the name of a file, with its `::dataset` if there is one."""
    file, inner = split_inner(path)
    return Path(file).name + (f"{INNER}{inner}" if inner else "")


def _one(path: str, shape: Triple, voxel_nm: Spacing) -> str:
    voxels, size = " x ".join(map(str, shape)), " x ".join(f"{edge:g}" for edge in voxel_nm)
    return f"{_name(path)}, {voxels} voxels (zyx) of {size} nm"
