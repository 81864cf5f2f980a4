"""The GPU engine: whole blocks up as bytes, tiles cut, computed and put together there, bytes down."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Clock
from dmn_runtime.errors import GpuMemoryError
from dmn_runtime.geometry import Region, Triple, whole
from dmn_runtime.gpu.device import Device, DeviceMemory
from dmn_runtime.gpu.kernels import Kernels
from dmn_runtime.gpu.lane import Lane, Shared
from dmn_runtime.gpu.memory_plan import (
    BatchShape,
    Need,
    Share,
    begun_too_large,
    halved,
    output_bytes,
    patch_bytes,
    plan_memory,
)
from dmn_runtime.gpu.network import DeviceRunner
from dmn_runtime.gpu.sheet import Slab, lay_sheets
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.plan import Block, Footprint
from dmn_runtime.source import mirrored_inside
from dmn_runtime.volume.base import Voxels


@dataclass(frozen=True)
class GpuEngine:
    """Satisfies `BlockEngine`. `open_gpu_engine` makes one; the runner outlives it.

    `working_shape`: voxels of the working grid, zyx. `share`: what goes through at once.
    """

    name: str
    precision: str
    runner: DeviceRunner
    working_shape: Triple
    footprint: Footprint
    share: Share
    clock: Clock
    idle: SimpleQueue[Lane]
    held: ExitStack

    @property
    def description(self) -> str:
        """Precision, library, version, device and that the kernels are ours, for the report.

        The size of tiles and batch is told apart (`share`), for the ledger holds it.
        """
        return f"{self.precision} by {self.runner.description}, fused kernels"

    def segment_block(self, block: Block, patch: Voxels, probability: NDArray[np.uint8]) -> None:
        """Write the probability of a block's core; see `BlockEngine`."""
        inside = mirrored_inside(block.read, self.working_shape)
        self._segment(block.core, inside, self.working_shape, patch, probability)

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of a patch's core; see `Engine`. The patch is taken for the whole volume."""
        z, y, x = patch.shape
        c, h = self.footprint.context_slices, self.footprint.halo_px
        core = Region((c, h, h), (z - c, y - h, x - h))
        probability = np.empty(core.shape, np.uint8)
        self._segment(core, whole((z, y, x)), (z, y, x), patch, probability)
        return probability

    def _segment(
        self, core: Region, inside: Region, volume: Triple, patch: Voxels, probability: NDArray[np.uint8]
    ) -> None:
        self.runner.device.make_current()
        slabs = cut_slabs(core, volume, self.footprint, self.share.edge_px, self.share.slab_slices)
        for slab in slabs:
            sheets = lay_sheets(slab, volume, self.footprint, self.share.batch)
            part = patch[slab.patch.relative_to(inside.start).slices]
            output = probability[slab.core.relative_to(core.start).slices]
            with self._lane() as lane:
                lane.segment(slab, sheets, part, output, self.clock)

    def timed(self, core: Region, patch: Voxels) -> dict[str, float]:
        """Return the seconds of each stage on the device for one slab, without graphs (`Lane.timed`).

        Args:
            core: of the slab, on the working grid.
            patch: zyx voxels of `self.slab_of(core).patch`.
        """
        self.runner.device.make_current()
        slab = self.slab_of(core)
        sheets = lay_sheets(slab, self.working_shape, self.footprint, self.share.batch)
        with self._lane() as lane:
            return lane.timed(slab, sheets, patch, np.empty(core.shape, np.uint8))

    def slab_of(self, core: Region) -> Slab:
        """Return the slab of a core no deeper than `share.slab_slices`."""
        [slab] = cut_slabs(
            core, self.working_shape, self.footprint, self.share.edge_px, self.share.slab_slices
        )
        return slab

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self.idle.get()
        try:
            yield lane
        finally:
            self.idle.put(lane)

    def close(self) -> None:
        """Free lanes, kernels and table, once no call is under way; not the runner."""
        self.runner.device.make_current()
        self.held.close()


def open_gpu_engine(
    name: str,
    precision: str,
    runner: DeviceRunner,
    kernels: Kernels,
    table: NDArray[np.float32],
    working_shape: Triple,
    need: Need,
    clock: Clock,
    say: Callable[[str], None],
) -> GpuEngine:
    """Take the memory of all lanes; where it is short, aloud, with half the batch.

    Args:
        name: of the engine, its word.
        precision: its arithmetic.
        runner: of the network.
        kernels: opened on its device; the engine closes them.
        table: network input of each grey value of the volume's dtype, 256 or 65536.
        working_shape: voxels of the working grid, zyx.
        need: of the run.
        clock: hears of the stages.
        say: takes sentences for people.

    Raises:
        EngineError: the GPU's memory does not even hold one tile.
        ResumeError: nor what the run was begun with.
    """
    runner.device.make_current()
    need = within_plan(need, runner)
    with ExitStack() as always:
        always.callback(kernels.close)
        share, lanes, held = _fitted(runner, kernels, table, need, say)
        always.push(held)
        return GpuEngine(
            name, precision, runner, working_shape, need.footprint, share, clock, lanes, always.pop_all()
        )


def _fitted(
    runner: DeviceRunner,
    kernels: Kernels,
    table: NDArray[np.float32],
    need: Need,
    say: Callable[[str], None],
) -> tuple[Share, SimpleQueue[Lane], ExitStack]:
    """Open as many lanes of as large a batch as there is memory for."""
    share = shared_out(runner, need, runner.device.free_bytes())
    while True:
        with ExitStack() as held:
            try:
                lanes = _open_lanes(held, runner, kernels, table, need, share, say)
            except GpuMemoryError as error:
                smaller = halved(need, share)
                if smaller is None:
                    if need.batch is None or need.loaded:
                        raise
                    raise begun_too_large(BatchShape(need.batch, need.edge_px), str(error)) from error
                say(f"{error}; goes on with {_told(smaller)} instead of {_told(share)}")
                share = smaller
                continue
            return share, lanes, held.pop_all()


def shared_out(runner: DeviceRunner, need: Need, free_bytes: int) -> Share:
    """Return what goes through at once, within what the runner's plan takes."""
    return plan_memory(within_plan(need, runner), free_bytes, most_lanes=runner.most_bound)


def within_plan(need: Need, runner: DeviceRunner) -> Need:
    """Return what is needed of a runner: one with a plan gives the batch and holds its activations."""
    if runner.fixed_shape is None:
        return need
    batch, _, _, edge = runner.fixed_shape
    return replace(need, batch=batch, edge_px=edge, loaded=True)


def _told(share: Share) -> str:
    return f"batches of {share.batch} on {share.lanes} streams"


def _open_lanes(
    held: ExitStack,
    runner: DeviceRunner,
    kernels: Kernels,
    table: NDArray[np.float32],
    need: Need,
    share: Share,
    say: Callable[[str], None],
) -> SimpleQueue[Lane]:
    device = runner.device
    voxels = np.dtype(np.uint8) if len(table) == 256 else np.dtype(np.uint16)
    uploaded = _uploaded(held, device, table, runner.batch_dtype)
    shared = Shared(device, kernels, uploaded, voxels, runner.batch_dtype, say)
    lanes: SimpleQueue[Lane] = SimpleQueue()
    shape = (share.batch, need.channels, share.edge_px, share.edge_px)
    for _ in range(share.lanes):
        lane = Lane(shared, runner.bind(shape))
        held.callback(lane.close)
        lane.take_memory(patch_bytes(need, share.slab_slices), output_bytes(need, share.slab_slices))
        lanes.put(lane)
    return lanes


def _uploaded(
    held: ExitStack,
    device: Device,
    table: NDArray[np.float32],
    dtype: np.dtype[np.float16] | np.dtype[np.float32],
) -> DeviceMemory:
    """Return the table on the device, in the network's own type."""
    values = np.ascontiguousarray(table.astype(dtype))
    memory = device.device_memory(values.nbytes)
    held.callback(memory.free)
    pinned, stream = device.host_memory(values.nbytes), device.stream()
    try:
        pinned.data[:] = values.view(np.uint8)
        stream.upload(pinned, memory, values.nbytes)
        stream.synchronise()
    finally:
        pinned.free()
        stream.close()
    return memory
