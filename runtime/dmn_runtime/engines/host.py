"""An engine whose network takes and gives arrays in main memory, with the plain gather and scatter around."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.plan import Footprint
from dmn_runtime.tiles import gather, scatter
from dmn_runtime.volume.base import Voxels


@dataclass(frozen=True)
class HostEngine:
    """A runner with its normalisation; satisfies `Engine`.

    `table` is the network input of each grey value of the volume's dtype.
    """

    name: str
    precision: str
    runner: Runner
    table: NDArray[np.float32]
    footprint: Footprint

    @property
    def description(self) -> str:
        """Precision, library, version and device, for the report."""
        return f"{self.precision} by {self.runner.description}"

    def logits(self, tiles: Tiles) -> Tiles:
        """Run the bare network: float32 nchw in, float32 nchw out."""
        return self.runner.run(tiles)

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of the patch's core; see `Engine`."""
        logits = self.logits(gather(patch, self.table, self.footprint.context_slices))
        return scatter(logits, self.footprint.halo_px)

    def close(self) -> None:
        """Free the runner."""
        self.runner.close()
