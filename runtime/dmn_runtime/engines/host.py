"""An engine whose network takes and gives arrays in main memory, with the plain gather and scatter around."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Clock
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.plan import Footprint
from dmn_runtime.tiles import gather, scatter
from dmn_runtime.volume.base import Voxels


@dataclass(frozen=True)
class HostEngine:
    """A runner with its normalisation; satisfies `Engine`.

    `table` is the network input of each grey value of the volume's dtype; `clock` hears of the stages.
    """

    name: str
    precision: str
    runner: Runner
    table: NDArray[np.float32]
    footprint: Footprint
    clock: Clock = field(default_factory=Clock)

    @property
    def description(self) -> str:
        """Precision, library, version and device, for the report."""
        return f"{self.precision} by {self.runner.description}"

    def logits(self, tiles: Tiles) -> Tiles:
        """Run the bare network: float32 nchw in, float32 nchw out."""
        return self.runner.run(tiles)

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of the patch's core; see `Engine`."""
        with self.clock.stage("gather"):
            tiles = gather(patch, self.table, self.footprint.context_slices)
        with self.clock.stage("network"):
            logits = self.logits(tiles)
        with self.clock.stage("scatter"):
            return scatter(logits, self.footprint.halo_px)

    def close(self) -> None:
        """Nothing to do: whoever opened the runner closes it."""
