"""The one class that answers `Volume`, whatever the format: guards, translates, delegates."""

from types import TracebackType
from typing import Self, final

import numpy as np

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region, Spacing, Triple, whole
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.border import foreign_errors
from dmn_runtime.volume.fingerprint import fingerprint
from dmn_runtime.volume.source import Source, VoxelType


@final
class FileVolume:
    """A volume in a file or folder; see `dmn_runtime.volume.base.Volume` for the promises."""

    path: str
    format: str
    shape: Triple
    dtype: VoxelType
    voxel_nm: Spacing | None

    def __init__(self, path: str, source: Source, voxel_nm: Spacing | None) -> None:
        """Serve `source`; `voxel_nm` (zyx), where given, overrides what the file says."""
        self.path = path
        self.format = source.format
        self.shape = source.shape
        self.dtype = source.dtype
        self.voxel_nm = source.voxel_nm if voxel_nm is None else voxel_nm
        self._source = source
        self._closed = False

    def read(self, region: Region) -> Voxels:
        """Return the voxels of `region`, zyx: C-contiguous, writable, native byte order, the caller's own.

        Raises:
            VolumeError: the file is damaged, vanished or closed.
            ValueError: `region` is empty or reaches outside the volume (a fault of the calling code).
        """
        if not whole(self.shape).contains(region) or min(region.shape) < 1:
            raise ValueError(f"{region} is empty or not inside a volume of shape {self.shape}")
        self._refuse_closed()
        with foreign_errors(self.path, self.format):
            voxels = self._source.read(region)
            return np.require(voxels, self.dtype, ["C_CONTIGUOUS", "WRITEABLE", "OWNDATA"])

    def fingerprint(self) -> str:
        """Return a sha256 (hex) over shape, dtype and content (`dmn_runtime.volume.fingerprint`)."""
        self._refuse_closed()
        return fingerprint(self.shape, self.dtype, self.read, self._file_times)

    def close(self) -> None:
        """Let go of the file; closing twice is closing once."""
        if not self._closed:
            self._closed = True
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise VolumeError(f"{self.path} was closed and is read again: open it again first")

    def _file_times(self) -> list[tuple[int, int]]:
        with foreign_errors(self.path, self.format):
            stats = [file.stat() for file in self._source.files()]
            return [(stat.st_size, stat.st_mtime_ns) for stat in stats]
