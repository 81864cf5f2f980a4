"""HDF5: one dataset of a file, `file.h5::path/to/dataset`."""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.extras import require
from dmn_runtime.geometry import Region, Spacing
from dmn_runtime.volume.array_axes import array_index, unnamed_axes, zyx_shape
from dmn_runtime.volume.decoded_cache import CACHE_BYTES
from dmn_runtime.volume.inner_path import no_such, only_volume
from dmn_runtime.volume.lengths import spacing
from dmn_runtime.volume.source import Source, accept_dtype

if TYPE_CHECKING:
    import h5py


def open_source(path: Path, inner: str | None) -> Source:
    """Open one dataset of an HDF5 file as a volume.

    Raises:
        VolumeError: no such dataset, or none was named and there is not exactly one 3-D dataset.
        MissingExtra: h5py is not installed.
    """
    require("h5py", to=f"read {path}")
    import h5py

    # The library's cache of decoded chunks is 1 MiB unless told: a slab's chunks would be decoded again
    # for every block.
    file = h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    try:
        return _source(file, path, inner)
    except BaseException:
        file.close()
        raise


def _source(file: "h5py.File", path: Path, inner: str | None) -> Source:
    dataset = _find(file, path, inner)
    name = f"{path}::{dataset.name.strip('/')}"
    dtype = accept_dtype(dataset.dtype, name)
    axes = unnamed_axes(dataset.shape, name)
    shape = zyx_shape(dataset.shape, axes)
    lock = Lock()  # h5py guards single calls, not a read against a close

    def read(region: Region) -> NDArray[Any]:
        with lock:
            voxels = dataset[array_index(dataset.ndim, axes, region)]
        return np.reshape(voxels, region.shape)

    def close() -> None:
        with lock:
            file.close()

    return Source(
        format="HDF5",
        shape=shape,
        dtype=dtype,
        voxel_nm=_spacing(dataset, shape[0]),
        read=read,
        files=lambda: (path,),
        close=close,
    )


def _find(file: "h5py.File", path: Path, inner: str | None) -> "h5py.Dataset":
    import h5py

    if inner is None:
        return file[only_volume(_datasets(file), str(path))]
    found = file.get(inner) if inner else None
    if not isinstance(found, h5py.Dataset):
        raise no_such(str(path), inner, _datasets(file))
    if found.shape is None:
        raise VolumeError(f"{path}::{inner} is empty: name a dataset that holds a volume")
    return found


def _datasets(file: "h5py.File") -> list[tuple[str, tuple[int, ...]]]:
    import h5py

    found: list[tuple[str, tuple[int, ...]]] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            found.append((name, item.shape))

    file.visititems(visit)
    return found


def _spacing(dataset: "h5py.Dataset", slices: int) -> Spacing | None:
    """Return the voxel size of the attribute `element_size_um` (zyx), which Fiji and ilastik write."""
    edges_um = np.ravel(dataset.attrs.get("element_size_um", ()))
    if len(edges_um) != 3 or edges_um.dtype.kind not in "fiu":
        return None
    z, y, x = (1000.0 * float(um) for um in edges_um)
    return spacing(z, y, x, slices)
