"""The seam over NVIDIA's cuda.core and cuda.bindings (extra `gpu`); imported only where a GPU is wanted.

cuda.core opens the GPU and keeps its primary context; everything else goes through the driver's own calls,
thin enough to be read beside CUDA's manual: cuda.core copies whole buffers alone, and its memory comes from a
pool that keeps what was given back, so that neither another library nor `free_bytes` would see it.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.extras import require
from dmn_runtime.geometry import Triple
from dmn_runtime.gpu.device import Argument, DeviceMemory, Graph, HostMemory, Kernel, Mark, Stream
from dmn_runtime.gpu.driver_errors import driver_error

_IN_C = {
    np.int32: ctypes.c_int32,
    np.int64: ctypes.c_int64,
    np.float32: ctypes.c_float,
    np.uint64: ctypes.c_uint64,
}


@dataclass(frozen=True)
class Driver:
    """The functions of cuda.bindings.driver, whose refusals are exceptions."""

    functions: Any

    def call(self, what: str, name: str, *arguments: Any) -> Any:
        """Call a function of the driver.

        Args:
            what: what has failed if it fails, as a clause.
            name: such as "cuMemAlloc".
            arguments: as cuda.bindings takes them.

        Returns:
            what the driver gives: nothing, one value or a tuple.

        Raises:
            EngineError: the driver refuses; a GpuMemoryError where memory is short.
        """
        status, *values = getattr(self.functions, name)(*arguments)
        if status != self.functions.CUresult.CUDA_SUCCESS:
            raise driver_error(what, status.name)
        return values[0] if len(values) == 1 else tuple(values)

    def release(self, name: str, *arguments: Any) -> None:
        """Give something back. A refusal is not told: it repeats what the last `synchronise` has raised."""
        getattr(self.functions, name)(*arguments)


@dataclass
class CudaMemory:
    """Bytes on the GPU, or pinned on the host; satisfies `DeviceMemory` and `HostMemory`."""

    driver: Driver
    nbytes: int
    address: int
    giver: str
    """The driver's function that gives them back."""
    freed: bool = False

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of pinned memory."""
        if self.freed:
            raise ValueError("the memory was given back")
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.nbytes).from_address(self.address))

    def free(self) -> None:
        """Give the bytes back."""
        if not self.freed:
            self.freed = True
            self.driver.release(self.giver, self.address)


@dataclass(frozen=True)
class CudaKernel:
    """A kernel of a module that is loaded; satisfies `Kernel`."""

    name: str
    function: Any


@dataclass
class CudaModule:
    """Kernels on the GPU; satisfies `Module`."""

    driver: Driver
    module: Any

    def kernel(self, name: str) -> CudaKernel:
        """Return a kernel; see `Module`."""
        if self.module is None:
            raise ValueError("the module was given back")
        what = f"the kernel {name} cannot be had"
        return CudaKernel(name, self.driver.call(what, "cuModuleGetFunction", self.module, name.encode()))

    def close(self) -> None:
        """Give the module back."""
        module, self.module = self.module, None
        if module is not None:
            self.driver.release("cuModuleUnload", module)


@dataclass
class CudaMark:
    """An event with a time; satisfies `Mark`."""

    driver: Driver
    event: Any

    def seconds_since(self, earlier: Mark) -> float:
        """Return the seconds from `earlier` to this mark."""
        assert isinstance(earlier, CudaMark)
        what = "the GPU gives no time"
        milliseconds = self.driver.call(what, "cuEventElapsedTime", earlier.event, self.event)
        return float(milliseconds) / 1000

    def close(self) -> None:
        """Give the mark back."""
        event, self.event = self.event, None
        if event is not None:
            self.driver.release("cuEventDestroy", event)


@dataclass
class CudaGraph:
    """A graph that is ready to run; satisfies `Graph`."""

    driver: Driver
    executable: Any

    def launch(self, stream: Stream) -> None:
        """Enqueue all of it; see `Graph`."""
        if self.executable is None:
            raise ValueError("the graph was given back")
        self.driver.call("a graph cannot be launched", "cuGraphLaunch", self.executable, stream.handle)

    def close(self) -> None:
        """Give the graph back."""
        executable, self.executable = self.executable, None
        if executable is not None:
            self.driver.release("cuGraphExecDestroy", executable)


@dataclass
class CudaCapture:
    """A capture; satisfies `Capture`."""

    captured: CudaGraph | None = None

    @property
    def graph(self) -> Graph:
        """The captured work, once the with statement has ended."""
        if self.captured is None:
            raise ValueError("the capture has not ended")
        return self.captured


@dataclass
class CudaStream:
    """A stream that waits for no other; satisfies `Stream`."""

    driver: Driver
    handle: int
    closed: bool = False

    def upload(self, source: HostMemory, target: DeviceMemory, nbytes: int) -> None:
        """Enqueue a copy to the GPU; see `Stream`."""
        check_copy(source.data.nbytes, target.nbytes, nbytes)
        what, host = "a copy to the GPU failed", source.data.ctypes.data
        self.driver.call(what, "cuMemcpyHtoDAsync", target.address, host, nbytes, self.handle)

    def download(self, source: DeviceMemory, target: HostMemory, nbytes: int) -> None:
        """Enqueue a copy from the GPU; see `Stream`."""
        check_copy(source.nbytes, target.data.nbytes, nbytes)
        what, host = "a copy from the GPU failed", target.data.ctypes.data
        self.driver.call(what, "cuMemcpyDtoHAsync", host, source.address, nbytes, self.handle)

    def launch(self, kernel: Kernel, grid: Triple, block: Triple, arguments: Sequence[Argument]) -> None:
        """Enqueue a kernel; see `Stream`."""
        assert isinstance(kernel, CudaKernel)
        values, types = _packed(arguments)
        self.driver.call(
            f"the kernel {kernel.name} cannot be launched",
            "cuLaunchKernel",
            kernel.function,
            *grid,
            *block,
            0,  # bytes of shared memory beyond what the kernel declares
            self.handle,
            (values, types),
            0,
        )

    def mark(self) -> CudaMark:
        """Enqueue a mark; see `Stream`."""
        what = "the GPU gives no mark"
        mark = CudaMark(self.driver, self.driver.call(what, "cuEventCreate", 0))
        try:
            self.driver.call(what, "cuEventRecord", mark.event, self.handle)
        except BaseException:
            mark.close()
            raise
        return mark

    @contextmanager
    def capturing(self) -> Iterator[CudaCapture]:
        """Record what is enqueued; see `Stream`.

        The mode is thread-local: what other threads allocate meanwhile does not disturb, and a call of this
        thread that cannot be captured is refused instead of being done at the wrong time.
        """
        mode = self.driver.functions.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        what = "work on the GPU cannot be captured in a graph"
        self.driver.call(what, "cuStreamBeginCapture", self.handle, mode)
        capture = CudaCapture()
        try:
            yield capture
        except BaseException:
            self._abandon()
            raise
        graph = self.driver.call(what, "cuStreamEndCapture", self.handle)
        try:
            executable = self.driver.call(what, "cuGraphInstantiate", graph, 0)
        finally:
            self.driver.release("cuGraphDestroy", graph)
        capture.captured = CudaGraph(self.driver, executable)

    def _abandon(self) -> None:
        """End a capture whose work failed; the driver gives a graph if it was sound so far."""
        status, graph = self.driver.functions.cuStreamEndCapture(self.handle)
        if status == self.driver.functions.CUresult.CUDA_SUCCESS:
            self.driver.release("cuGraphDestroy", graph)

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done."""
        self.driver.call("work on the GPU failed", "cuStreamSynchronize", self.handle)

    def close(self) -> None:
        """Give the stream back."""
        if not self.closed:
            self.closed = True
            self.driver.release("cuStreamDestroy", self.handle)


@dataclass(frozen=True)
class CudaDevice:
    """A GPU through cuda.core; satisfies `Device`.

    `device`: returns cuda.core's object, which belongs to one thread. `uuid`: CUDA's, as text.
    """

    driver: Driver
    device: Callable[[], Any]
    description: str
    compute_capability: str
    uuid: str

    @property
    def has_graphs(self) -> bool:
        """Streams can capture graphs."""
        return True

    def make_current(self) -> None:
        """Let the calling thread use this GPU."""
        with _opening("this thread cannot use the GPU"):
            self.device().set_current()

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory nobody has taken."""
        free, _ = self.driver.call("the GPU does not tell its memory", "cuMemGetInfo")
        return int(free)

    def load(self, fatbin: bytes) -> CudaModule:
        """Load a module of kernels; see `Device`."""
        what = "the kernels cannot be loaded"
        return CudaModule(self.driver, self.driver.call(what, "cuModuleLoadData", fatbin))

    def stream(self) -> CudaStream:
        """Return a new stream."""
        flags = self.driver.functions.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = self.driver.call("the GPU gives no stream", "cuStreamCreate", int(flags))
        return CudaStream(self.driver, int(stream))

    def device_memory(self, nbytes: int) -> CudaMemory:
        """Return new bytes on the GPU."""
        address = self.driver.call(f"the GPU gives no {nbytes} bytes", "cuMemAlloc", nbytes)
        return CudaMemory(self.driver, nbytes, int(address), "cuMemFree")

    def host_memory(self, nbytes: int) -> CudaMemory:
        """Return new pinned bytes."""
        what = f"the computer gives no {nbytes} bytes that the GPU may reach"
        address = self.driver.call(what, "cuMemHostAlloc", nbytes, 0)
        return CudaMemory(self.driver, nbytes, int(address), "cuMemFreeHost")


def open_cuda_device(ordinal: int = 0) -> CudaDevice:
    """Open a GPU and make it current in the calling thread.

    Args:
        ordinal: among the GPUs that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        MissingExtra: cuda.core is not installed.
        EngineError: there is no driver or no such GPU.
    """
    require("cuda.core", "cuda.bindings", to="use the GPU")
    with _opening(f"GPU {ordinal} cannot be opened"):
        import cuda.core
        from cuda.bindings import driver

        device = cuda.core.Device(ordinal)
        device.set_current()
        major, minor = device.compute_capability
        capability = f"{major}.{minor}"
        return CudaDevice(
            driver=Driver(driver),
            device=lambda: cuda.core.Device(ordinal),
            description=f"{device.name}, {capability}",
            compute_capability=capability,
            uuid=str(device.uuid),
        )


def _packed(arguments: Sequence[Argument]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the values of a kernel's arguments and their types in C, as cuda.bindings packs them."""
    try:
        types = tuple(_IN_C[type(argument)] for argument in arguments)
    except KeyError as error:
        raise TypeError(f"a kernel takes NumPy's scalars of fixed size, not {error}") from None
    return tuple(argument.item() for argument in arguments), types


@contextmanager
def _opening(what: str) -> Iterator[None]:
    """Name what failed; cuda.core's errors have no common type: RuntimeErrors, ValueErrors or its own."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        raise driver_error(what, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "cuda":  # CUDAError derives from Exception alone
            raise
        raise driver_error(what, error) from error


def check_copy(source: int, target: int, nbytes: int) -> None:
    """Refuse a copy that leaves its memory; all in bytes.

    Raises:
        ValueError: either side is smaller than `nbytes`.
    """
    if nbytes > min(source, target):
        raise ValueError(f"a copy of {nbytes} bytes between {source} and {target}")
