"""DMN from memory to memory: plan, stream and engine of `dmn infer`, without files on either side.

What the peers do, and no more; for a GPU above all, where the disk would be all that is measured. The engine
is loaded and has segmented a block before the watch starts, as the peers have segmented a slice.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main

from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.package import open_package
from dmn_runtime.plan import Block, Plan
from dmn_runtime.setup import Options, Setup, lay_out, set_up
from dmn_runtime.stream import Steps, run_stream
from dmn_runtime.volume.base import Voxels
from dmn_runtime.workforce import Workforce, gather_workforce


@dataclass
class MemoryVolume:
    """A volume in memory; satisfies `Volume` as far as a run without a ledger goes."""

    voxels: NDArray[np.uint8]
    voxel_nm: Spacing | None
    path: str = "memory"
    format: str = "memory"

    @property
    def shape(self) -> Triple:
        """Voxels, zyx."""
        z, y, x = self.voxels.shape
        return (z, y, x)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of the voxels."""
        return self.voxels.dtype

    def read(self, region: Region) -> Voxels:
        """Return the voxels of `region`, a view."""
        return self.voxels[region.slices]


def prepare(job: Job) -> Maker:
    """Load nothing that settings do not decide."""
    return partial(make, job)


def make(job: Job, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `engine`, `precision`."""
    package = open_package(Path(job["package"]))
    wish = Wish(engine=settings["engine"], precision=settings["precision"], workers=job["cores"])
    choice, runner = open_best(package, choose(package, wish, unheard), wish, unheard)
    plans: list[Plan] = []

    def segment(voxels: NDArray[np.uint8]) -> Segmented:
        volume: Any = MemoryVolume(voxels, tuple(job["voxel_nm"]))
        options = Options(job["package"], "memory", Path("memory"), volume.voxel_nm, workers=job["cores"])
        layout = lay_out(options, package.contract, volume, job["cores"])
        setup = set_up(options, package, volume, layout, choice, job["cores"])
        force = gather_workforce(setup, runner, Clock(), unheard)
        plans.append(setup.plan)
        try:
            streamed(setup, force, 1)
            begin_s = perf_counter()
            probability = streamed(setup, force, len(setup.plan))
            seconds = perf_counter() - begin_s
            facts = {"engine": force.engine.description, "precision": choice.candidate.precision}
        finally:
            force.engine.close()
        return Segmented(probability, seconds, facts)

    return Ready(segment, lambda: computed_px(plans[-1]))


def streamed(setup: Setup, force: Workforce, blocks: int) -> NDArray[np.uint8]:
    """Stream the first blocks of a volume, and return its probability."""
    probability = np.zeros(setup.plan.output_shape, np.uint8)

    def write(block: Block, made: NDArray[np.uint8]) -> None:
        probability[block.output.slices] = made

    steps = Steps(lambda block: force.read(setup.volume.read, block), write, lambda _: None)
    run_stream(setup.plan, range(blocks), force.work, steps, force.threads, Occupancy())
    return probability


def unheard(_: str) -> None:
    """Say nothing."""


def computed_px(plan: Plan) -> int:
    """Return the pixels that go into the network for a slice, on average."""
    reads = [tile.read(plan.footprint) for block in plan.blocks() for tile in block.tiles]
    return sum(read.size for read in reads) // plan.working_shape[0]


if __name__ == "__main__":
    main(prepare)
