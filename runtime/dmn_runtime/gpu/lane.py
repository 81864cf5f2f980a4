"""A lane: one slab at a time from main memory through the network and back, on a stream of its own.

    pinned patch ─upload─► patch ─gather─► batch ─network─► logits ─scatter─► output ─download─► pinned output
                                  └────── for each batch, as one graph where that can be ──────┘

What changes from batch to batch stands in the sheet, so the graph of the first batch serves all that follow.
Calls return when the slab is done; several lanes, in threads of their own, keep the GPU busy meanwhile.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Clock
from dmn_runtime.errors import EngineError
from dmn_runtime.gpu.device import Device, DeviceMemory, Graph, HostMemory, Mark
from dmn_runtime.gpu.kernels import Images, Kernels, launch_gather, launch_scatter
from dmn_runtime.gpu.network import BoundNetwork
from dmn_runtime.gpu.sheet import Slab, sheet_words
from dmn_runtime.volume.base import Voxels

Sheets = tuple[NDArray[np.int32], ...]

STAGES = ("upload", "gather", "network", "scatter", "download")
"""Of the device, in order, as `timed` tells them."""

_WORD_BYTES = 4


class Buffers:
    """Memory on both sides, made anew where more is wanted than there is; freed by `close`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.host: HostMemory | None = None
        self.memory: DeviceMemory | None = None

    def holds(self, nbytes: int) -> bool:
        """Tell whether there is room for `nbytes` already."""
        return self.memory is not None and self.memory.nbytes >= nbytes

    def fit(self, nbytes: int) -> None:
        """Hold `nbytes` on both sides, or nothing where there is not enough. No work may be under way."""
        if self.holds(nbytes):
            return
        self.close()
        memory = self._device.device_memory(nbytes)
        try:
            self.host = self._device.host_memory(nbytes)
        except BaseException:
            memory.free()
            raise
        self.memory = memory

    def close(self) -> None:
        """Give both sides back."""
        for side in (self.host, self.memory):
            if side is not None:
                side.free()
        self.host = self.memory = None


@dataclass(frozen=True)
class Shared:
    """What all lanes of an engine share.

    `table`: network input of each grey value, on the device. `say`: takes sentences for people.
    """

    device: Device
    kernels: Kernels
    table: DeviceMemory
    voxel_dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    batch_dtype: np.dtype[np.float16] | np.dtype[np.float32]
    say: Callable[[str], None]


class Lane:
    """See the head of this file. One call at a time; the calling thread has made the device current."""

    def __init__(self, shared: Shared, network: BoundNetwork) -> None:
        self.network = network
        self._shared = shared
        self._patch, self._output = Buffers(shared.device), Buffers(shared.device)
        self._sheet = Buffers(shared.device)
        self._pinned_sheets: list[HostMemory] = []
        self._graph: Graph | None = None
        self._warm = False  # drivers load a kernel at its first launch, which a capture forbids
        self._wants_graph = shared.device.has_graphs and network.capturable

    def take_memory(self, patch_bytes: int, output_bytes: int) -> None:
        """Take now what slabs of that size will need; the network runs once, for libraries take theirs then.

        Raises:
            GpuMemoryError: there is not enough.
        """
        self._fit(patch_bytes, output_bytes)
        try:
            self.network.enqueue()
        finally:
            self.network.stream.synchronise()

    def segment(
        self, slab: Slab, sheets: Sheets, patch: Voxels, output: NDArray[np.uint8], clock: Clock
    ) -> None:
        """Segment a slab.

        Args:
            slab: what goes through.
            sheets: of its batches, each for as many tiles as the network's batch.
            patch: zyx voxels of `slab.patch`.
            output: uint8 zyx over `slab.core`, written whole.
            clock: hears of stages "stage" (copies on the host) and "device".
        """
        with clock.stage("stage"):
            self._lay(slab, sheets, patch, output.size)
        with clock.stage("device"):
            self._through(slab, sheets, output.size, self._batch)
        with clock.stage("stage"):
            self._take(output)

    def timed(self, slab: Slab, sheets: Sheets, patch: Voxels, output: NDArray[np.uint8]) -> dict[str, float]:
        """Segment a slab without graphs and return the seconds of each of `STAGES` on the device."""
        spans: list[tuple[str, Mark, Mark]] = []

        def marked(stage: str, work: Callable[[], None]) -> None:
            before = self.network.stream.mark()
            work()
            spans.append((stage, before, self.network.stream.mark()))

        try:
            self._lay(slab, sheets, patch, output.size)
            self._through(slab, sheets, output.size, self._marked_batch(marked), marked)
            self._take(output)
            found = dict.fromkeys(STAGES, 0.0)
            for stage, before, after in spans:
                found[stage] += after.seconds_since(before)
            return found
        finally:
            for _, before, after in spans:
                before.close()
                after.close()

    def _lay(self, slab: Slab, sheets: Sheets, patch: Voxels, output_bytes: int) -> None:
        """Copy patch and sheets into pinned memory, which grows where it must."""
        z, y, _ = slab.patch.shape
        laid = (z, y, slab.pitch)
        nbytes = z * y * slab.pitch * patch.dtype.itemsize
        self._fit(nbytes, output_bytes)
        assert self._sheet.memory is not None
        while len(self._pinned_sheets) < len(sheets):
            self._pinned_sheets.append(self._shared.device.host_memory(self._sheet.memory.nbytes))
        assert self._patch.host is not None
        target: NDArray[Any] = self._patch.host.data[:nbytes].view(patch.dtype).reshape(laid)
        target[:, :, : patch.shape[2]] = patch
        for sheet, pinned in zip(sheets, self._pinned_sheets, strict=False):
            pinned.data[: sheet.nbytes] = sheet.view(np.uint8)

    def _fit(self, patch_bytes: int, output_bytes: int) -> None:
        sheet_bytes = sheet_words(self.network.shape[0]) * _WORD_BYTES
        wanted = ((self._sheet, sheet_bytes), (self._patch, patch_bytes), (self._output, output_bytes))
        if all(buffers.holds(nbytes) for buffers, nbytes in wanted):
            return
        self._forget_graph()  # which holds addresses that will no longer be ours
        for buffers, nbytes in wanted:
            buffers.fit(nbytes)

    def _through(
        self,
        slab: Slab,
        sheets: Sheets,
        output_bytes: int,
        batch: Callable[[], None],
        around: Callable[[str, Callable[[], None]], None] = lambda _, work: work(),
    ) -> None:
        """Enqueue the whole slab and wait for it."""
        stream, patch, output = self.network.stream, self._patch, self._output
        assert patch.host is not None
        assert patch.memory is not None
        assert output.host is not None
        assert output.memory is not None
        assert self._sheet.memory is not None
        z, y, _ = slab.patch.shape
        up = z * y * slab.pitch * self._shared.voxel_dtype.itemsize
        pairs = (patch.host, patch.memory), (output.memory, output.host)
        try:
            around("upload", lambda: stream.upload(*pairs[0], up))
            for _, pinned in zip(sheets, self._pinned_sheets, strict=False):
                stream.upload(pinned, self._sheet.memory, self._sheet.memory.nbytes)
                batch()
            around("download", lambda: stream.download(*pairs[1], output_bytes))
        finally:
            stream.synchronise()  # whatever was enqueued uses memory that others will want

    def _take(self, output: NDArray[np.uint8]) -> None:
        assert self._output.host is not None
        output[:] = self._output.host.data[: output.size].reshape(output.shape)

    def _batch(self) -> None:
        """Enqueue gather, network and scatter, as a graph where that can be."""
        if self._graph is None and self._wants_graph and self._warm:
            self._capture()
        if self._graph is not None:
            self._graph.launch(self.network.stream)
        else:
            self._enqueue()
            self._warm = True

    def _capture(self) -> None:
        try:
            with self.network.stream.capturing() as capture:
                self._enqueue()
        except EngineError as error:
            self._wants_graph = False
            self._shared.say(f"without CUDA graphs, which is a little slower: {error}")
        else:
            self._graph = capture.graph

    def _enqueue(self) -> None:
        self._gather()
        self.network.enqueue()
        self._scatter()

    def _marked_batch(self, marked: Callable[[str, Callable[[], None]], None]) -> Callable[[], None]:
        def batch() -> None:
            marked("gather", self._gather)
            marked("network", self.network.enqueue)
            marked("scatter", self._scatter)

        return batch

    def _gather(self) -> None:
        assert self._patch.memory is not None
        assert self._sheet.memory is not None
        shared = self._shared
        launch_gather(
            self.network.stream, shared.kernels, self._patch.memory, self._sheet.memory, shared.table,
            self.network.image, Images(*self.network.shape, shared.batch_dtype), shared.voxel_dtype,
        )  # fmt: skip

    def _scatter(self) -> None:
        assert self._output.memory is not None
        assert self._sheet.memory is not None
        shared = self._shared
        count, _, height, width = self.network.shape
        # The mask is made on the host, on the output's grid, which may be another.
        launch_scatter(
            self.network.stream, shared.kernels, self.network.logits, self._sheet.memory, self._output.memory,
            None, Images(count, 1, height, width, shared.batch_dtype), grey_threshold=255,
        )  # fmt: skip

    def _forget_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def close(self) -> None:
        """Give everything back, once no call is under way."""
        with ExitStack() as undone:
            undone.callback(self.network.release)
            undone.callback(self._sheet.close)
            undone.callback(self._patch.close)
            undone.callback(self._output.close)
            for pinned in self._pinned_sheets:
                undone.callback(pinned.free)
            self._pinned_sheets = []
            self._forget_graph()
