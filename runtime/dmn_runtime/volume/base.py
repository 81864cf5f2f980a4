"""What every volume answers, whatever file it lies in (docs/volumes.md)."""

from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Spacing, Triple

Voxels = NDArray[np.uint8] | NDArray[np.uint16]


class Volume(Protocol):
    """An image volume on disk: read by region, in any thread.

    Attributes:
        path: what the user named, as text.
        format: one word for people ("TIFF", "OME-Zarr 0.5", ...).
        shape: voxels, zyx.
        dtype: uint8 or uint16, native byte order.
        voxel_nm: voxel size in nm, zyx; None where the file does not say.
    """

    path: str
    format: str
    shape: Triple
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    voxel_nm: Spacing | None

    def read(self, region: Region) -> Voxels:
        """Return the voxels of `region`, zyx, which must lie inside the volume.

        The array is the caller's own: C-contiguous, writable, native byte order. May be called from
        several threads at once.

        Raises:
            VolumeError: the file is damaged or vanished.
        """
        ...

    def fingerprint(self) -> str:
        """Return a sha256 (hex) over shape, dtype and content, for the ledger.

        Content is every byte up to 32 MiB of voxels, beyond that a deterministic sample plus file sizes and
        modification times.
        """
        ...

    def close(self) -> None:
        """Let go of the file; later reads are errors."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
