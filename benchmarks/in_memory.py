"""A volume in main memory, and the stream from it back into main memory: what the RAM benchmarks share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Occupancy
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.plan import Block
from dmn_runtime.setup import Setup
from dmn_runtime.stream import Steps, run_stream
from dmn_runtime.volume.base import Voxels
from dmn_runtime.workforce import Workforce


@dataclass(frozen=True)
class MemoryVolume:
    """A volume in main memory, zyx; satisfies `Volume` as far as a run without files goes."""

    voxels: Voxels
    voxel_nm: Spacing | None
    path: str = "memory"
    format: str = "array"

    @property
    def shape(self) -> Triple:
        """Voxels, zyx."""
        z, y, x = self.voxels.shape
        return (z, y, x)

    @property
    def dtype(self) -> Any:
        """Of the voxels."""
        return self.voxels.dtype

    def read(self, region: Region) -> Voxels:
        """Return a view: a reader of files would return an array of its own, and here nothing is read."""
        return self.voxels[region.slices]

    def fingerprint(self) -> str:
        """Return nothing: no ledger asks."""
        return ""

    def close(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> "MemoryVolume":
        return self

    def __exit__(self, *_: object) -> None: ...


def pass_through(setup: Setup, force: Workforce, out: NDArray[np.uint8], indices: Iterable[int]) -> Occupancy:
    """Stream the blocks `indices` of a volume into `out`; return how full the queues were.

    Args:
        setup: of the run; nothing is resampled back, so the output is on the working grid.
        force: who does the work.
        out: probability, uint8 zyx, of the output's shape.
        indices: of the blocks.
    """

    def write(block: Block, probability: NDArray[np.uint8]) -> None:
        out[block.output.slices] = probability

    queues = Occupancy()
    steps = Steps(lambda block: force.read(setup.volume.read, block), write, lambda _: None)
    run_stream(setup.plan, indices, force.work, steps, force.threads, queues)
    return queues
