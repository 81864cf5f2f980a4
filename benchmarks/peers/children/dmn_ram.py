"""DMN from memory to memory: plan, stream and engine, without files on either side.

What the peers do, and no more: for a GPU, where a disk would be all that is measured.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main, table_of

from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish
from dmn_runtime.engines.host import HostEngine
from dmn_runtime.geometry import Region
from dmn_runtime.package import open_package
from dmn_runtime.plan import Block, Footprint, Plan, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.stream import ByTile, Steps, run_stream, threads_for
from dmn_runtime.volume.base import Voxels


def prepare(job: Job) -> Maker:
    """Load nothing that settings do not decide."""
    return partial(make, job)


def make(job: Job, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `engine`, `precision`."""
    package = open_package(Path(job["package"]))
    contract = package.contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    wish = Wish(engine=settings["engine"], precision=settings["precision"], workers=job["cores"])
    choice, runner = open_best(package, choose(package, wish, lambda _: None), wish, lambda _: None)
    one = choice.candidate
    engine = HostEngine(one.engine, one.precision, runner, table_of(job), footprint, Clock())
    plans: list[Plan] = []

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        plan = make_plan(volume.shape, tuple(job["voxel_nm"]), contract.working_voxel_nm, footprint)
        probability = np.empty(volume.shape, np.uint8)

        def read(block: Block) -> Voxels:
            return read_working(lambda region: volume[region.slices], plan, block.read)

        def write(block: Block, made: NDArray[np.uint8]) -> None:
            probability[block.output.slices] = made

        steps = Steps(read, write, lambda _: None)
        run_stream(
            plan, range(len(plan)), ByTile(engine, plan), steps, threads_for(job["cores"]), Occupancy()
        )
        plans.append(plan)
        return Segmented(probability, detail={"engine": engine.description, "precision": one.precision})

    return Ready(segment, lambda: computed_px(plans[-1]))


def computed_px(plan: Plan) -> int:
    """Return the pixels that go into the network for a slice, on average."""
    reads: list[Region] = [tile.read(plan.footprint) for block in plan.blocks() for tile in block.tiles]
    return sum(read.size for read in reads) // plan.working_shape[0]


if __name__ == "__main__":
    main(prepare)
