"""The seam through which the GPU is reached: memory, copies, streams, kernels, marks in time, graphs.

What runs above it (TensorRT's plans, the fused kernels, the GPU engine) knows no GPU library; adapters are
`cuda_core.py`, `pycuda_driver.py` and, in the tests, one over NumPy, and one test suite holds all of them to
what is said here.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Triple

Argument = np.int32 | np.int64 | np.float32 | np.uint64
"""What a kernel takes by value; an address is a uint64, 0 where there is none."""


class DeviceMemory(Protocol):
    """Bytes on the GPU."""

    @property
    def address(self) -> int:
        """Where they lie, at least 256-byte aligned."""
        ...

    @property
    def nbytes(self) -> int:
        """How many there are."""
        ...

    def free(self) -> None:
        """Give them back; a second call does nothing. No work that uses them may be under way."""
        ...


class HostMemory(Protocol):
    """Pinned bytes of the host, which a copy reaches without a detour."""

    @property
    def data(self) -> NDArray[np.uint8]:
        """All of them, writeable, 1-D; not to be used after `free`."""
        ...

    def free(self) -> None:
        """Give them back; a second call does nothing. No copy that uses them may be under way."""
        ...


class Kernel(Protocol):
    """A function of a module, ready to be launched."""

    @property
    def name(self) -> str:
        """As the source has it."""
        ...


class Module(Protocol):
    """Kernels on the device."""

    def kernel(self, name: str) -> Kernel:
        """Return a kernel by its name in the source (extern "C").

        Raises:
            EngineError: there is none of that name.
        """
        ...

    def close(self) -> None:
        """Give the module back; its kernels are not to be used after. A second call does nothing."""
        ...


class Mark(Protocol):
    """A moment in a stream's work (an event with a time)."""

    def seconds_since(self, earlier: "Mark") -> float:
        """Return the seconds from `earlier` to this mark; both have been passed (`Stream.synchronise`)."""
        ...

    def close(self) -> None:
        """Give the mark back; a second call does nothing."""
        ...


class Graph(Protocol):
    """Work that was captured once and is enqueued again by one call."""

    def launch(self, stream: "Stream") -> None:
        """Enqueue all of it; launches of one graph follow one another.

        Raises:
            EngineError: the driver refuses.
        """
        ...

    def close(self) -> None:
        """Give the graph back, once no launch is under way; a second call does nothing."""
        ...


class Capture(Protocol):
    """What `Stream.capturing` gives: the graph, once the with statement has ended."""

    @property
    def graph(self) -> Graph:
        """The captured work, instantiated; the caller closes it.

        Raises:
            ValueError: the capture has not ended.
        """
        ...


class Stream(Protocol):
    """Work in order: calls return at once, `synchronise` waits. Never the default stream."""

    @property
    def handle(self) -> int:
        """CUstream as a number, for libraries that enqueue their own work."""
        ...

    def upload(self, source: HostMemory, target: DeviceMemory, nbytes: int) -> None:
        """Enqueue a copy of the first `nbytes` to the GPU.

        Raises:
            ValueError: either side is smaller than that.
        """
        ...

    def download(self, source: DeviceMemory, target: HostMemory, nbytes: int) -> None:
        """Enqueue a copy of the first `nbytes` from the GPU.

        Raises:
            ValueError: either side is smaller than that.
        """
        ...

    def launch(self, kernel: Kernel, grid: Triple, block: Triple, arguments: Sequence[Argument]) -> None:
        """Enqueue a kernel.

        Args:
            kernel: of a module that is open on this device.
            grid: blocks along x, y, z (CUDA's order).
            block: threads along x, y, z.
            arguments: by value, in the order of the source; their types are the source's.

        Raises:
            EngineError: the driver refuses the launch.
        """
        ...

    def mark(self) -> Mark:
        """Enqueue a mark that is passed when all before it is done."""
        ...

    def capturing(self) -> AbstractContextManager[Capture]:
        """Record what is enqueued inside the with statement instead of doing it.

        Inside it only copies between buffers that stay, launches and a library's own capturable work may be
        enqueued, by this thread alone; nothing may be synchronised or allocated.

        Raises:
            EngineError: the work cannot be captured; the stream can be used as before.
        """
        ...

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done.

        Raises:
            EngineError: some of it failed.
        """
        ...

    def close(self) -> None:
        """Give the stream back, once its work is done; a second call does nothing."""
        ...


class Device(Protocol):
    """One GPU."""

    @property
    def description(self) -> str:
        """Name and compute capability, for the report ("NVIDIA RTX A4000, 8.6")."""
        ...

    @property
    def compute_capability(self) -> str:
        """Such as "8.6"."""
        ...

    @property
    def uuid(self) -> str:
        """CUDA's, by which nvidia-smi knows the GPU too."""
        ...

    @property
    def has_graphs(self) -> bool:
        """Whether streams can capture graphs."""
        ...

    def make_current(self) -> None:
        """Let the calling thread use this GPU; every thread calls it before anything else."""
        ...

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory nobody has taken at this moment."""
        ...

    def load(self, fatbin: bytes) -> Module:
        """Load a module of kernels.

        Raises:
            EngineError: it holds no code for this GPU, or is no module.
        """
        ...

    def stream(self) -> Stream:
        """Return a new stream."""
        ...

    def device_memory(self, nbytes: int) -> DeviceMemory:
        """Return new bytes on the GPU (nbytes > 0), ready for use on any stream.

        Raises:
            GpuMemoryError: there is not enough memory.
        """
        ...

    def host_memory(self, nbytes: int) -> HostMemory:
        """Return new pinned bytes (nbytes > 0).

        Raises:
            GpuMemoryError: there is not enough memory.
        """
        ...
