"""What every contestant is given: the same voxels, the same intensity map, the same weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from contest.arguments import StudentWish, VolumeWish
from dmn_runtime.contract import Contract
from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.geometry import Region, Spacing, Triple, ceil_div
from dmn_runtime.normalise import map_volume
from dmn_runtime.package import Package, open_package
from dmn_runtime.resample import resample_slices, to_working
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.open import open_volume


@dataclass(frozen=True)
class Student:
    """A student in its two forms, known to be of the same weights.

    Attributes:
        name: of the contest.
        package: opened.
        weights: the run's safetensors.
        spec: the network's facts, as `dmn_train`'s NetworkSpec takes them.
        weights_sha256: of both.
    """

    name: str
    package: Package
    weights: Path
    spec: dict[str, int]
    weights_sha256: str

    @property
    def contract(self) -> Contract:
        """Return the package's contract."""
        return self.package.contract


@dataclass(frozen=True)
class Material:
    """A volume, ready for the students of one working voxel size.

    Attributes:
        voxels: uint8 zyx on the working grid (.npy).
        shape: of it, zyx.
        voxel_nm: of it, zyx.
        table: network input of each grey value, 256.
        labels: bool zyx on the working grid, or None.
    """

    voxels: Path
    shape: Triple
    voxel_nm: Spacing
    table: list[float]
    labels: NDArray[np.bool_] | None


def open_student(wish: StudentWish) -> Student:
    """Open a run and a package, and make sure that they are the same network.

    Raises:
        UsageError: they are not, or it is one that the peers cannot be given.
        PackageError: the package is damaged.
    """
    path = wish.run / "run.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        spec, sha256 = dict(facts["network"]), str(facts["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--student {wish.name}: {path} is no finished run's ({type(error).__name__}: {error}): "
            "give a folder that dmn train wrote"
        ) from error
    package = open_package(wish.package)
    exported = package.contract.provenance.get("run", {}).get("weights_sha256")
    if exported != sha256:
        raise UsageError(
            f"--student {wish.name}: {wish.package.name} was exported from weights {str(exported)[:12]} and "
            f"the run has {sha256[:12]}: give the run that the package was made from"
        )
    if package.contract.context_slices:
        raise UsageError(
            f"--student {wish.name} reads {package.contract.context_slices} neighbouring slices on each "
            "side, and the peers are given single slices: take a student without context"
        )
    return Student(wish.name, package, wish.run / "weights.safetensors", spec, sha256)


def working_shape(wish: VolumeWish, working_nm: float | None) -> Triple:
    """Return the shape, zyx, of a volume on the working grid, without reading its voxels.

    Raises:
        VolumeError: it is not 8-bit, or labels lie on another grid.
    """
    with open_volume(wish.path, voxel_nm=wish.voxel_nm) as volume:
        if volume.dtype != np.uint8:
            raise VolumeError(f"{wish.path} holds {volume.dtype}, the peers are given 8-bit voxels")
        if wish.labels is not None:
            with open_volume(wish.labels) as labels:
                if labels.shape != volume.shape:
                    raise VolumeError(
                        f"{wish.labels} has shape {labels.shape} (z, y, x) and {wish.path} {volume.shape}: "
                        "labels must lie on the image's grid"
                    )
        z, y, x = to_working(volume.shape, wish.voxel_nm, working_nm).shape_out
    return (max(z, wish.slices), y * wish.mosaic, x * wish.mosaic)


def prepare(wish: VolumeWish, contract: Contract, folder: Path) -> Material:
    """Resample, enlarge and save a volume, and fit DMN's intensity map to what is saved.

    Args:
        wish: which volume.
        contract: of a student; says the working grid and the rule of the map.
        folder: takes the files.

    Raises:
        VolumeError: a file is damaged.
    """
    working_nm = contract.working_voxel_nm
    grey = enlarged(_resampled(_read(wish.path), wish, working_nm), wish)
    voxel_nm = wish.voxel_nm if working_nm is None else (wish.voxel_nm[0], working_nm, working_nm)
    voxels, stack = folder / "voxels.npy", folder / "voxels.tif"
    np.save(voxels, grey)
    tifffile.imwrite(stack, grey, photometric="minisblack")
    with open_volume(stack, voxel_nm=voxel_nm) as volume:
        table = map_volume(volume, contract.normalisation).table(np.dtype(np.uint8))
    stack.unlink()
    labels = None
    if wish.labels is not None:
        full = ((_read(wish.labels) > 0) * 255).astype(np.uint8)
        labels = enlarged(_resampled(full, wish, working_nm), wish) >= 128
    return Material(voxels, grey.shape, voxel_nm, [float(value) for value in table], labels)


def enlarged(volume: NDArray[np.uint8], wish: VolumeWish) -> NDArray[np.uint8]:
    """Mirror a volume: along z until it has `wish.slices`, along y and x into a mosaic of whole slices."""
    depth = max(volume.shape[0], wish.slices)
    there_and_back = np.concatenate([volume, volume[::-1]])
    volume = np.tile(there_and_back, (ceil_div(depth, len(there_and_back)), 1, 1))[:depth]
    for axis in (1, 2):
        mirrored = [np.flip(volume, axis) if i % 2 else volume for i in range(wish.mosaic)]
        volume = np.concatenate(mirrored, axis=axis)
    return volume


def facts_of(wish: VolumeWish, shape: Triple) -> dict[str, Any]:
    """Return what a page says of a volume; no folders of this machine."""
    return {
        "file": wish.path.name,
        "voxel_nm": list(wish.voxel_nm),
        "slices": wish.slices,
        "mosaic": wish.mosaic,
        "working_shape": list(shape),
        "labels": wish.labels is not None,
    }


def _resampled(volume: Voxels, wish: VolumeWish, working_nm: float | None) -> NDArray[np.uint8]:
    return resample_slices(volume, wish.voxel_nm, working_nm).astype(np.uint8, copy=False)


def _read(path: Path) -> Voxels:
    with open_volume(path) as volume:
        return volume.read(Region((0, 0, 0), volume.shape))
