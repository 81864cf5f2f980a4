"""Who does a run's work: an engine for tiles or for whole blocks, what it reads, how many threads."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from dmn_runtime.clock import Clock
from dmn_runtime.engines.base import BlockEngine, Engine, Runner
from dmn_runtime.engines.host import HostEngine
from dmn_runtime.errors import EngineError
from dmn_runtime.geometry import Region, round_up
from dmn_runtime.gpu.memory_plan import UNKNOWN_VALUES_PER_PX, BatchShape, Need, pinned_bytes
from dmn_runtime.gpu.network import DeviceRunner
from dmn_runtime.plan import Block, Plan
from dmn_runtime.report import GpuFacts
from dmn_runtime.seams import largest_again_px
from dmn_runtime.setup import Setup, require_memory
from dmn_runtime.source import mirrored_inside, read_inside, read_working
from dmn_runtime.stream import ByBlock, ByTile, Threads, Work, threads_for, threads_for_gpu
from dmn_runtime.volume.base import Voxels

Read = Callable[[Region], Voxels]


@dataclass(frozen=True)
class Workforce:
    """What the stream of a run is given.

    `engine`: for second looks and the report; `close` frees it, not the runner. `read`: returns what the work
    wants of a block, from a reader of regions of the volume's own grid. `gpu`: what goes through a GPU at
    once, None where tiles are cut on the processor.
    """

    engine: Engine | BlockEngine
    work: Work
    read: Callable[[Read, Block], Voxels]
    threads: Threads
    gpu: GpuFacts | None = None

    @property
    def batch(self) -> BatchShape | None:
        """What goes through a GPU in one call of the network."""
        return None if self.gpu is None else BatchShape(self.gpu.batch, self.gpu.edge_px)


def gather_workforce(setup: Setup, runner: Runner, clock: Clock, say: Callable[[str], None]) -> Workforce:
    """Return who does the work: on a GPU that can be reached, whole blocks by the fused kernels; else tiles.

    Args:
        setup: of the run.
        runner: opened for it.
        clock: hears of the stages.
        say: takes sentences for people.

    Raises:
        EngineError: the GPU's memory does not hold one tile.
        PlanError: this machine's does not hold the blocks that a GPU keeps in flight.
        ResumeError: the GPU's does not hold what the run was begun with.
    """
    if isinstance(runner, DeviceRunner):
        engine = _gpu_engine(setup, runner, clock, say)
        if engine is not None:
            return engine
    candidate, plan = setup.choice.candidate, setup.plan
    host = HostEngine(
        candidate.engine,
        candidate.precision,
        runner,
        setup.intensity.table(setup.volume.dtype),
        plan.footprint,
        clock,
    )
    return Workforce(
        host,
        ByTile(host, plan),
        lambda read, block: read_working(read, plan, block.read),
        threads_for(setup.workers),
    )


def _gpu_engine(
    setup: Setup, runner: DeviceRunner, clock: Clock, say: Callable[[str], None]
) -> Workforce | None:
    from dmn_runtime.gpu.engine import open_gpu_engine
    from dmn_runtime.gpu.kernels import open_kernels

    device, candidate, plan = runner.device, setup.choice.candidate, setup.plan
    device.make_current()
    need, table = need_of(setup, runner), setup.intensity.table(setup.volume.dtype)
    before = device.free_bytes()
    try:
        kernels = open_kernels(device)
    except EngineError as error:
        say(f"tiles are cut on the processor, which is slower: {error}")
        return None
    engine = open_gpu_engine(
        candidate.engine, candidate.precision, runner, kernels, table, plan.working_shape, need, clock, say
    )
    share, threads = engine.share, threads_for_gpu(engine.share.lanes, setup.workers)
    try:
        require_memory(plan, setup.volume, threads, pinned_bytes(need, share))
        after = device.free_bytes()
    except BaseException:
        engine.close()
        raise
    return Workforce(
        engine,
        ByBlock(engine),
        lambda read, block: read_inside(read, plan, mirrored_inside(block.read, plan.working_shape)),
        threads,
        GpuFacts(share.edge_px, share.batch, share.lanes, share.slab_slices, share.nbytes, before, after),
    )


def need_of(setup: Setup, runner: DeviceRunner) -> Need:
    """Return what a run needs of the GPU's memory."""
    contract, plan, begun = setup.package.contract, setup.plan, setup.begun
    core, footprint = largest_core(plan), plan.footprint
    inner = min(plan.tile[1], round_up(max(core[1:]), footprint.stride_px) + footprint.stride_px)
    if begun is not None and not begun.suits(footprint):
        begun = None  # a ledger that was meddled with, which the comparison of headers refuses
    return Need(
        footprint=footprint,
        channels=contract.in_channels,
        values_per_px=ceil(contract.values_per_px or UNKNOWN_VALUES_PER_PX),
        itemsize=runner.batch_dtype.itemsize,
        voxel_itemsize=np.dtype(setup.volume.dtype).itemsize,
        block=core,
        edge_px=inner + 2 * footprint.halo_px if begun is None else begun.edge_px,
        again_px=largest_again_px(footprint.stride_px) if setup.options.check_seams else 0,
        batch=None if begun is None else begun.batch,
    )


def largest_core(plan: Plan) -> tuple[int, int, int]:
    """Return a shape, zyx on the working grid, that holds the core of every block."""
    z, y, x = plan.block_at(0).core.shape
    # Where the grids differ, the cores of equal blocks differ by a voxel at either end.
    return (z, min(y + 2, plan.working_shape[1]), min(x + 2, plan.working_shape[2]))
