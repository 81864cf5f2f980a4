"""The steps of a run's stream, timed and counted: what a batch run and a live run share."""

import threading
from collections.abc import Callable
from datetime import datetime
from time import perf_counter
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.engines.base import Runner
from dmn_runtime.geometry import Region
from dmn_runtime.plan import Block
from dmn_runtime.run_report import Tally
from dmn_runtime.seams import SeamScore
from dmn_runtime.setup import Setup
from dmn_runtime.tiles import mask_of
from dmn_runtime.volume.base import Voxels
from dmn_runtime.workforce import gather_workforce

Output = NDArray[np.uint8]


@final
class TimedSteps:
    """Who does the work of a run, and the count of it; its methods may be called from several threads.

    Attributes:
        force: engine, threads and what they read; whoever makes these steps closes the engine.
        clock: busy seconds; what comes after the stream may add to them.
        queues: hears how full they are.
    """

    def __init__(
        self, setup: Setup, runner: Runner, say: Callable[[str], None], begin_s: float, chosen_s: float
    ) -> None:
        """Gather who does the work.

        Args:
            setup: of the run.
            runner: opened for it.
            say: takes sentences for people.
            begin_s: when the run began (`perf_counter`), the choice of the engine left out.
            chosen_s: what that took.
        """
        self.clock, self.queues = Clock(), Occupancy()
        self.force = gather_workforce(setup, runner, self.clock, say)
        self._setup = setup
        self._begin_s = begin_s
        self._chosen_s = chosen_s
        self._first_tile_s: float | None = None
        self._voxels = 0
        self._lock = threading.Lock()

    def read(self, block: Block, read: Callable[[Region], Voxels]) -> Voxels:
        """Return what the work wants of a block; `read` reads regions of the volume's own grid."""

        def timed(region: Region) -> Voxels:
            with self.clock.stage("read"):
                return read(region)

        with self.clock.stage("prepare"):
            return self.force.read(timed, block)

    def advance(self) -> None:
        """Hear that tiles are done."""
        if self._first_tile_s is None:
            self._first_tile_s = perf_counter() - self._begin_s

    def write(
        self, block: Block, working: NDArray[np.uint8], put: Callable[[Output, Output], None]
    ) -> tuple[Output, Output]:
        """Hand probability and mask of `block.output`, uint8 zyx, to `put`, and return them.

        Args:
            block: which.
            working: probability of `block.core`, uint8 zyx.
            put: writes and records them.
        """
        with self.clock.stage("assemble"):
            back = self._setup.plan.back
            probability = back.apply(working, block.core, block.output).astype(np.uint8, copy=False)
            mask = mask_of(probability, self._setup.threshold)
        with self.clock.stage("write"):
            put(probability, mask)
        with self._lock:
            self._voxels += block.output.size
        return probability, mask

    def tally(
        self,
        started: datetime,
        fingerprint: str,
        foreground_share: float,
        drift: tuple[str, ...],
        *,
        resumed: bool,
        seams: SeamScore | None = None,
    ) -> Tally:
        """Return what was counted so far, beside what only the run knows."""
        busy_s = self.clock.busy_s
        if "prepare" in busy_s:  # reading included: what is left is resampling
            busy_s["resample"] = busy_s.pop("prepare") - busy_s["read"]
        return Tally(
            fingerprint=fingerprint,
            engine=self.force.engine.description,
            busy_s=busy_s,
            queues=self.queues.means(),
            wall_s=perf_counter() - self._begin_s,
            choose_s=self._chosen_s,
            first_tile_s=self._first_tile_s,
            voxels=self._voxels,
            started=started,
            resumed=resumed,
            foreground_share=foreground_share,
            drift=drift,
            seams=seams,
            gpu=self.force.gpu,
        )
