"""DMN from memory to memory: plan, stream and engine of `dmn infer`, without files on either side.

What the peers do, and no more; for a GPU above all, where the disk would be all that is measured. The engine
is loaded and has segmented a block before the watch starts, as the peers have segmented a slice.
"""

import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main

from dmn_runtime.clock import Clock
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish
from dmn_runtime.package import open_package
from dmn_runtime.plan import Plan
from dmn_runtime.setup import Options, lay_out, set_up
from dmn_runtime.workforce import gather_workforce

sys.path.append(str(Path(__file__).parents[2]))  # this runs with DMN's own interpreter, so nothing is hidden
from in_memory import MemoryVolume, pass_through


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
        volume = MemoryVolume(voxels, tuple(job["voxel_nm"]))
        options = Options(job["package"], "memory", Path("memory"), volume.voxel_nm, workers=job["cores"])
        layout = lay_out(options, package.contract, volume, job["cores"])
        setup = set_up(options, package, volume, layout, choice, job["cores"])
        force = gather_workforce(setup, runner, Clock(), unheard)
        plans.append(setup.plan)
        try:
            pass_through(setup, force, np.zeros(setup.plan.output_shape, np.uint8), range(1))
            begin_s = perf_counter()
            probability = np.zeros(setup.plan.output_shape, np.uint8)
            pass_through(setup, force, probability, range(len(setup.plan)))
            seconds = perf_counter() - begin_s
            facts = {"engine": force.engine.description, "precision": choice.candidate.precision}
        finally:
            force.engine.close()
        return Segmented(probability, seconds, facts)

    return Ready(segment, lambda: computed_px(plans[-1]))


def unheard(_: str) -> None:
    """Say nothing."""


def computed_px(plan: Plan) -> int:
    """Return the pixels that go into the network for a slice, on average."""
    reads = [tile.read(plan.footprint) for block in plan.blocks() for tile in block.tiles]
    return sum(read.size for read in reads) // plan.working_shape[0]


if __name__ == "__main__":
    main(prepare)
