"""The seam over NVIDIA's cuda.core and cuda.bindings (extra `gpu`); imported only where a GPU is wanted.

Copies go through the driver's own call because cuda.core copies whole buffers alone, and a batch seldom fills
its buffer.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError
from dmn_runtime.extras import require
from dmn_runtime.gpu.device import DeviceMemory, HostMemory


@dataclass
class CudaMemory:
    """A buffer of cuda.core, on the GPU or pinned on the host; satisfies `DeviceMemory` and `HostMemory`."""

    buffer: Any
    nbytes: int
    address: int

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of pinned memory."""
        if self.buffer is None:
            raise ValueError("the memory was given back")
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.nbytes).from_address(self.address))

    def free(self) -> None:
        """Give the bytes back."""
        if self.buffer is not None:
            self.buffer.close()
            self.buffer = None


@dataclass
class CudaStream:
    """A stream of cuda.core; satisfies `Stream`."""

    stream: Any
    handle: int

    def upload(self, source: HostMemory, target: DeviceMemory, nbytes: int) -> None:
        """Enqueue a copy to the GPU; see `Stream`."""
        _check_sizes(source.data.nbytes, target.nbytes, nbytes)
        self._copy(target.address, source.data.ctypes.data, nbytes)

    def download(self, source: DeviceMemory, target: HostMemory, nbytes: int) -> None:
        """Enqueue a copy from the GPU; see `Stream`."""
        _check_sizes(source.nbytes, target.data.nbytes, nbytes)
        self._copy(target.data.ctypes.data, source.address, nbytes)

    def _copy(self, target: int, source: int, nbytes: int) -> None:
        from cuda.bindings import driver

        [status] = driver.cuMemcpyAsync(target, source, nbytes, self.handle)
        if status != driver.CUresult.CUDA_SUCCESS:
            raise EngineError(f"a copy to or from the GPU failed ({status.name}): see what nvidia-smi says")

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done."""
        with _cuda_errors("the GPU failed at its work"):
            self.stream.sync()

    def close(self) -> None:
        """Give the stream back."""
        self.stream.close()


@dataclass(frozen=True)
class CudaDevice:
    """A GPU through cuda.core; satisfies `Device`. `pinned`: where its host memory comes from."""

    device: Any
    pinned: Any
    description: str
    compute_capability: str
    uuid: str
    housekeeping: Any = field(repr=False)
    """A stream on which memory is taken and given back: at once, since it carries no other work."""

    def make_current(self) -> None:
        """Let the calling thread use this GPU."""
        self.device.set_current()

    def stream(self) -> CudaStream:
        """Return a new stream."""
        with _cuda_errors("the GPU gives no stream"):
            stream = self.device.create_stream()
        return CudaStream(stream, int(stream.handle))

    def device_memory(self, nbytes: int) -> CudaMemory:
        """Return new bytes on the GPU."""
        with _cuda_errors(f"the GPU has no {nbytes} bytes left"):
            buffer = self.device.allocate(nbytes, stream=self.housekeeping)
            self.housekeeping.sync()
        return CudaMemory(buffer, nbytes, int(buffer.handle))

    def host_memory(self, nbytes: int) -> CudaMemory:
        """Return new pinned bytes."""
        with _cuda_errors(f"the computer has no {nbytes} bytes to pin for the GPU"):
            buffer = self.pinned.allocate(nbytes)
        return CudaMemory(buffer, nbytes, int(buffer.handle))


def open_cuda_device(ordinal: int = 0) -> CudaDevice:
    """Open a GPU and make it current in the calling thread.

    Args:
        ordinal: among the GPUs that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        MissingExtra: cuda.core is not installed.
        EngineError: there is no driver or no such GPU.
    """
    require("cuda.core", "cuda.bindings", to="use the GPU")
    with _cuda_errors(f"GPU {ordinal} cannot be opened"):
        import cuda.core

        device = cuda.core.Device(ordinal)
        device.set_current()
        major, minor = device.compute_capability
        capability = f"{major}.{minor}"
        return CudaDevice(
            device=device,
            pinned=cuda.core.LegacyPinnedMemoryResource(),
            description=f"{device.name}, {capability}",
            compute_capability=capability,
            uuid=str(device.uuid),
            housekeeping=device.create_stream(),
        )


@contextmanager
def _cuda_errors(what: str) -> Iterator[None]:
    """Name what failed; the library's errors have no common type but are all RuntimeErrors or ValueErrors."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        raise EngineError(
            f"{what} ({' '.join(str(error).split())[:200]}): see what nvidia-smi says"
        ) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "cuda":  # CUDAError derives from Exception alone
            raise
        raise EngineError(
            f"{what} ({' '.join(str(error).split())[:200]}): see what nvidia-smi says"
        ) from error


def _check_sizes(source: int, target: int, nbytes: int) -> None:
    if nbytes > min(source, target):
        raise ValueError(f"a copy of {nbytes} bytes between {source} and {target}")
