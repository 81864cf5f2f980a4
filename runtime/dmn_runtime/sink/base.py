"""What every sink offers, whatever file it writes (docs/sinks.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Spacing, Triple


@dataclass(frozen=True)
class SinkSpec:
    """What is to be written; frozen before the first block.

    Attributes:
        path: where the finished output will stand.
        shape: voxels of the output grid, zyx.
        block: shape of one block, zyx; blocks lie on multiples of it, border blocks are cut off.
        voxel_nm: voxel size of the output grid, zyx; None where it is not known.
        classes: names of the foreground classes, the mask's values being 1, 2, ...
        threshold: a voxel is foreground where probability >= threshold (0 to 1).
    """

    path: Path
    shape: Triple
    block: Triple
    voxel_nm: Spacing | None
    classes: tuple[str, ...]
    threshold: float


class Sink(Protocol):
    """An output under construction: whole blocks in, one finished output out.

    Everything is built in a sibling, `partial_path(spec.path)`, and moved to `spec.path` by `finish`, so that
    an output that exists is complete.
    """

    spec: SinkSpec

    def write(self, region: Region, probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Write one whole block, durably enough that the ledger may record it on return.

        Args:
            region: the block on the output grid: starts on a multiple of the block shape.
            probability: zyx uint8, 255 = certain foreground.
            mask: zyx uint8, 0 = background, k = class k.

        May be called from several threads at once for different blocks. Writing a block twice leaves the
        same bytes as writing it once.

        Raises:
            OutputError: the disk is full or the path cannot be written.
        """
        ...

    def finish(self) -> None:
        """Complete the metadata and move the output to its final path."""
        ...

    def close(self) -> None:
        """Let go of all handles; what was written stays for a resumed run."""
        ...
