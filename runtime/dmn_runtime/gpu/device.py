"""The seam through which the GPU is reached: memory, copies, streams.

What runs above it (TensorRT's plans) knows no GPU library; adapters are `cuda_core.py` and, in the tests,
one over NumPy, and one test suite holds both to what is said here. Modules, launches and graphs join the seam
together with the fused kernels.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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

    def make_current(self) -> None:
        """Let the calling thread use this GPU; every thread calls it before anything else."""
        ...

    def stream(self) -> Stream:
        """Return a new stream."""
        ...

    def device_memory(self, nbytes: int) -> DeviceMemory:
        """Return new bytes on the GPU (nbytes > 0), ready for use on any stream.

        Raises:
            EngineError: there is not enough memory.
        """
        ...

    def host_memory(self, nbytes: int) -> HostMemory:
        """Return new pinned bytes (nbytes > 0).

        Raises:
            EngineError: there is not enough memory.
        """
        ...
