"""The seam over PyCUDA (extra `pycuda`); imported only where a GPU is wanted.

PyCUDA captures no graphs, so `cuda_core.py` is the better adapter where it can be installed. Three of its
habits shape this file:

- its objects belong to the context that was on PyCUDA's own stack, one a thread, when they were made, and can
  be destroyed only where that same context object is on top: so one primary context is retained for good, and
  pushed once in each thread;
- a thread that ends with a context on its stack aborts the whole process: so what is pushed is popped by a
  thread-local that goes with its thread, and by atexit for the thread that the interpreter ends in;
- streams, events and modules have no close: they go with the last reference to them.
"""

import atexit
import ctypes
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError
from dmn_runtime.extras import require
from dmn_runtime.geometry import Triple
from dmn_runtime.gpu.cuda_core import check_copy
from dmn_runtime.gpu.device import Argument, DeviceMemory, HostMemory, Kernel, Mark
from dmn_runtime.gpu.driver_errors import OUT_OF_MEMORY, driver_error

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, which PyCUDA has no name for: the stream does not wait for the default stream."""


@dataclass(frozen=True)
class Library:
    """pycuda.driver, whose errors are translated."""

    module: Any

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """Raise an EngineError for an error of PyCUDA; `what` has failed, as a clause."""
        try:
            yield
        except self.module.MemoryError as error:
            raise driver_error(what, OUT_OF_MEMORY) from error
        except self.module.Error as error:
            raise driver_error(what, error) from error


@dataclass
class PycudaDeviceMemory:
    """Bytes on the GPU; satisfies `DeviceMemory`."""

    library: Library
    allocation: Any
    nbytes: int
    address: int

    def free(self) -> None:
        """Give the bytes back."""
        allocation, self.allocation = self.allocation, None
        if allocation is not None:
            allocation.free()


@dataclass
class PycudaHostMemory:
    """Pinned bytes of the host; satisfies `HostMemory`."""

    array: NDArray[np.uint8] | None

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes."""
        if self.array is None:
            raise ValueError("the memory was given back")
        return self.array

    def free(self) -> None:
        """Give the bytes back, though views of them may live on."""
        array, self.array = self.array, None
        if array is not None:
            allocation: Any = array.base
            allocation.free()


@dataclass
class PycudaModule:
    """Kernels on the GPU; satisfies `Module`.

    A function of PyCUDA keeps its module loaded, so functions are kept here and in no kernel.
    """

    library: Library
    module: Any
    functions: dict[str, Any] = field(default_factory=dict)

    def kernel(self, name: str) -> "PycudaKernel":
        """Return a kernel; see `Module`."""
        if self.module is None:
            raise ValueError("the module was given back")
        if name not in self.functions:
            with self.library.naming(f"the kernel {name} cannot be had"):
                self.functions[name] = self.module.get_function(name)
        return PycudaKernel(name, self)

    def close(self) -> None:
        """Give the module back."""
        self.functions.clear()
        self.module = None


@dataclass(frozen=True)
class PycudaKernel:
    """A kernel of a module that is loaded; satisfies `Kernel`."""

    name: str
    module: PycudaModule


@dataclass
class PycudaMark:
    """An event with a time; satisfies `Mark`."""

    library: Library
    event: Any

    def seconds_since(self, earlier: Mark) -> float:
        """Return the seconds from `earlier` to this mark."""
        assert isinstance(earlier, PycudaMark)
        with self.library.naming("the GPU gives no time"):
            return float(self.event.time_since(earlier.event)) / 1000

    def close(self) -> None:
        """Give the mark back."""
        self.event = None


@dataclass
class PycudaStream:
    """A stream that waits for no other; satisfies `Stream`."""

    library: Library
    stream: Any
    handle: int

    def upload(self, source: HostMemory, target: DeviceMemory, nbytes: int) -> None:
        """Enqueue a copy to the GPU; see `Stream`."""
        check_copy(source.data.nbytes, target.nbytes, nbytes)
        with self.library.naming("a copy to the GPU failed"):
            self.library.module.memcpy_htod_async(target.address, source.data[:nbytes], self.stream)

    def download(self, source: DeviceMemory, target: HostMemory, nbytes: int) -> None:
        """Enqueue a copy from the GPU; see `Stream`."""
        check_copy(source.nbytes, target.data.nbytes, nbytes)
        with self.library.naming("a copy from the GPU failed"):
            self.library.module.memcpy_dtoh_async(target.data[:nbytes], source.address, self.stream)

    def launch(self, kernel: Kernel, grid: Triple, block: Triple, arguments: Sequence[Argument]) -> None:
        """Enqueue a kernel; see `Stream`."""
        assert isinstance(kernel, PycudaKernel)
        if kernel.module.module is None:
            raise ValueError("the module was given back")
        function = kernel.module.functions[kernel.name]
        with self.library.naming(f"the kernel {kernel.name} cannot be launched"):
            function(*arguments, grid=tuple(grid), block=tuple(block), stream=self.stream)

    def mark(self) -> PycudaMark:
        """Enqueue a mark; see `Stream`."""
        with self.library.naming("the GPU gives no mark"):
            event = self.library.module.Event()
            event.record(self.stream)
        return PycudaMark(self.library, event)

    def capturing(self) -> NoReturn:
        """Refuse: PyCUDA has no graphs."""
        raise EngineError(
            "PyCUDA cannot capture work in a graph: run without graphs, or pip install 'dmn-em[gpu]'"
        )

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done."""
        with self.library.naming("work on the GPU failed"):
            self.stream.synchronize()

    def close(self) -> None:
        """Give the stream back."""
        self.stream = None


class _Pushed:
    """The context on the stack of one thread, for as long as this object is there."""

    def __init__(self, library: Library, context: Any) -> None:
        with library.naming("this thread cannot use the GPU"):
            context.push()
        self.context = context

    def pop(self) -> None:
        context, self.context = self.context, None
        if context is not None:
            context.pop()

    def __del__(self) -> None:
        if hasattr(self, "context"):
            self.pop()


@dataclass(frozen=True)
class PycudaDevice:
    """A GPU through PyCUDA; satisfies `Device`."""

    library: Library
    context: Any
    description: str
    compute_capability: str
    uuid: str
    threads: threading.local = field(default_factory=threading.local, repr=False)

    @property
    def has_graphs(self) -> bool:
        """PyCUDA captures no graphs."""
        return False

    def make_current(self) -> None:
        """Let the calling thread use this GPU, until the thread ends."""
        if not hasattr(self.threads, "pushed"):
            self.threads.pushed = _Pushed(self.library, self.context)

    def leave(self) -> None:
        """Take the GPU from the calling thread; nothing where it does not use it."""
        pushed = self.threads.__dict__.pop("pushed", None)
        if pushed is not None:
            pushed.pop()

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory nobody has taken."""
        with self.library.naming("the GPU does not tell its memory"):
            free, _ = self.library.module.mem_get_info()
        return int(free)

    def load(self, fatbin: bytes) -> PycudaModule:
        """Load a module of kernels; see `Device`."""
        with self.library.naming("the kernels cannot be loaded"):
            return PycudaModule(self.library, self.library.module.module_from_buffer(fatbin))

    def stream(self) -> PycudaStream:
        """Return a new stream."""
        with self.library.naming("the GPU gives no stream"):
            stream = self.library.module.Stream(_NON_BLOCKING)
        return PycudaStream(self.library, stream, int(stream.handle))

    def device_memory(self, nbytes: int) -> PycudaDeviceMemory:
        """Return new bytes on the GPU."""
        with self.library.naming(f"the GPU gives no {nbytes} bytes"):
            allocation = self.library.module.mem_alloc(nbytes)
        return PycudaDeviceMemory(self.library, allocation, nbytes, int(allocation))

    def host_memory(self, nbytes: int) -> PycudaHostMemory:
        """Return new pinned bytes."""
        with self.library.naming(f"the computer gives no {nbytes} bytes that the GPU may reach"):
            return PycudaHostMemory(self.library.module.pagelocked_empty(nbytes, np.uint8))


_OPENED: dict[int, PycudaDevice] = {}
_OPENING = threading.Lock()


def open_pycuda_device(ordinal: int = 0) -> PycudaDevice:
    """Open a GPU and make it current in the calling thread; the same GPU is the same device each time.

    Args:
        ordinal: among the GPUs that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        MissingExtra: PyCUDA is not installed.
        EngineError: there is no driver or no such GPU.
    """
    require("pycuda", to="use the GPU through PyCUDA")
    with _OPENING:
        if ordinal not in _OPENED:
            _OPENED[ordinal] = _open(ordinal)
    device = _OPENED[ordinal]
    device.make_current()
    return device


def _open(ordinal: int) -> PycudaDevice:
    what = f"GPU {ordinal} cannot be opened"
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:  # its module is linked against the driver's library
        raise driver_error(what, error) from error
    library = Library(pycuda.driver)
    with library.naming(what):
        pycuda.driver.init()
        gpu = pycuda.driver.Device(ordinal)
        major, minor = gpu.compute_capability()
        name, context = gpu.name(), gpu.retain_primary_context()
    capability = f"{major}.{minor}"
    device = PycudaDevice(library, context, f"{name}, {capability}", capability, _uuid(ordinal))
    atexit.register(_end, device)
    return device


def _end(device: PycudaDevice) -> None:
    """Let the GPU go. PyCUDA itself would detach a retained context by the wrong call, and complain."""
    device.leave()
    device.context.detach()


def _uuid(ordinal: int) -> str:
    """Ask the driver itself, which PyCUDA has loaded: PyCUDA has no call for it."""
    driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    gpu, name = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    for status in (
        driver.cuDeviceGet(ctypes.byref(gpu), ctypes.c_int(ordinal)),
        driver.cuDeviceGetUuid_v2(name, gpu),
    ):
        if status != 0:
            raise EngineError(
                f"GPU {ordinal} does not tell its UUID (error {status}): see what nvidia-smi says"
            )
    return str(uuid.UUID(bytes=bytes(name)))
