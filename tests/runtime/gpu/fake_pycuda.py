"""A pycuda.driver over the NumPy device, with the names, signatures and habits of PyCUDA 2026.1.

Its habits: a stack of contexts for each thread, which must be empty when the thread ends (PyCUDA aborts the
process); things belong to the context that was on top when they were made, and are destroyed only where the
same context object is on top (else PyCUDA warns and leaks); streams, events and modules go with their last
reference.
"""

import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmn_runtime.errors import EngineError, GpuMemoryError


class Error(Exception):
    pass


class MemoryError(Error):  # noqa: A001 (PyCUDA's name)
    pass


class LogicError(Error):
    pass


class LaunchError(Error):
    pass


class RuntimeError(Error):  # noqa: A001 (PyCUDA's name)
    pass


class Stacks:
    """The stack of contexts of each thread."""

    def __init__(self) -> None:
        self.of: dict[int, list[Any]] = {}

    def mine(self) -> list[Any]:
        return self.of.setdefault(threading.get_ident(), [])

    def top(self) -> Any:
        if not self.mine():
            raise LogicError(
                "explicit_context_dependent failed: invalid device context - no currently active"
            )
        return self.mine()[-1]


def fake_driver(device: Any) -> Any:
    """Return the module; `device`: the NumPy device below."""
    stacks = Stacks()
    leaks: list[str] = []

    class Owned:
        def __init__(self, thing: Any, give_back: str) -> None:
            self._thing, self._give_back, self._context = thing, give_back, stacks.top()

        def __del__(self) -> None:
            if hasattr(self, "_thing"):
                self._destroy()

        def _destroy(self) -> None:
            if self._thing is None:
                return
            thing, self._thing = self._thing, None
            if not stacks.mine() or stacks.mine()[-1] is not self._context:
                leaks.append(f"{type(self).__name__} in out-of-thread context could not be cleaned up")
                return
            try:
                getattr(thing, self._give_back)()
            except AssertionError as error:  # raised in a destructor, it would be lost
                leaks.append(str(error))

    class Device:
        def __init__(self, ordinal: int) -> None:
            if ordinal != 0:
                raise LogicError("cuDeviceGet failed: invalid device ordinal")

        def name(self) -> str:
            return "NumPy"

        def compute_capability(self) -> tuple[int, int]:
            return 8, 6

        def retain_primary_context(self) -> "Context":
            return Context()

    class Context:
        def __init__(self) -> None:
            self.valid = True

        def push(self) -> None:
            assert self.valid
            device.make_current()
            stacks.mine().append(self)

        @staticmethod
        def pop() -> None:
            stacks.top()
            stacks.mine().pop()
            device.current.yes = bool(stacks.mine())

        def detach(self) -> None:
            if not self.valid:
                raise LogicError("context::detach failed: invalid device context - cannot detach")
            self.valid = False

    class Stream(Owned):
        def __init__(self, flags: int = 0) -> None:
            assert flags == 1, "the stream would wait for the default stream"
            stacks.top()
            super().__init__(_told("cuStreamCreate", device.stream), "close")

        @property
        def handle(self) -> int:
            return int(self._thing.handle)

        def synchronize(self) -> None:
            _told("cuStreamSynchronize", self._thing.synchronise)

    class Event(Owned):
        def __init__(self, flags: int = 0) -> None:
            assert flags == 0, "an event without a time"
            self._context, self._give_back, self._thing = stacks.top(), "close", None

        def record(self, stream: Stream | None = None) -> "Event":
            assert stream is not None, "an event on the default stream"
            self._thing = stream._thing.mark()
            return self

        def time_since(self, start: "Event") -> float:
            return float(self._thing.seconds_since(start._thing)) * 1000

    class Function:
        def __init__(self, kernel: Any, module: Any) -> None:
            self.kernel, self.module = kernel, module

        def __call__(
            self, *arguments: Any, grid: Any = (1, 1), block: Any = None, stream: Any = None, shared: int = 0
        ) -> None:
            assert stream is not None, "a launch on the default stream"
            assert type(grid) is type(block) is tuple
            for i, argument in enumerate(arguments):
                if not isinstance(argument, np.number):
                    raise TypeError(f"invalid type on parameter #{i} (0-based)")
            _told("cuLaunchKernel", lambda: stream._thing.launch(self.kernel, grid, block, arguments))

    class Module(Owned):
        def get_function(self, name: str) -> Function:
            try:
                return Function(self._thing.kernel(name), self)
            except EngineError:
                raise LogicError(f"cuModuleGetFunction failed: named symbol not found - {name}") from None

    class DeviceAllocation(Owned):
        def __int__(self) -> int:
            return int(self._thing.address)

        def free(self) -> None:
            if self._thing is None:
                raise LogicError("device_allocation::free failed: invalid resource handle")
            self._destroy()

    class PagelockedHostAllocation(Owned):
        @property
        def __array_interface__(self) -> dict[str, Any]:
            memory = self._thing
            return {
                "shape": (memory.nbytes,),
                "typestr": "|u1",
                "data": (memory.address, False),
                "version": 3,
            }

        def free(self) -> None:
            if self._thing is None:
                raise LogicError("pagelocked_host_allocation::free failed: invalid resource handle")
            self._destroy()

    def _told(routine: str, call: Any) -> Any:
        try:
            return call()
        except GpuMemoryError:
            raise MemoryError(f"{routine} failed: out of memory") from None
        except EngineError:
            raise LaunchError(f"{routine} failed: unspecified launch failure") from None

    def mem_alloc(nbytes: int) -> DeviceAllocation:
        stacks.top()
        return DeviceAllocation(_told("cuMemAlloc", lambda: device.device_memory(nbytes)), "free")

    def pagelocked_empty(
        shape: int, dtype: DTypeLike, order: str = "C", mem_flags: int = 0
    ) -> NDArray[np.uint8]:
        assert np.dtype(dtype) == np.uint8
        stacks.top()
        memory = _told("cuMemHostAlloc", lambda: device.host_memory(shape))
        return np.asarray(PagelockedHostAllocation(memory, "free"))

    def near(array: NDArray[np.uint8]) -> Any:
        return device.memory[array.ctypes.data]

    def memcpy_htod_async(dest: int, src: NDArray[np.uint8], stream: Stream | None = None) -> None:
        assert stream is not None, "a copy on the default stream"
        stream._thing.upload(near(src), device.memory_at(dest), src.nbytes)

    def memcpy_dtoh_async(dest: NDArray[np.uint8], src: int, stream: Stream | None = None) -> None:
        assert stream is not None, "a copy on the default stream"
        stream._thing.download(device.memory_at(src), near(dest), dest.nbytes)

    def module_from_buffer(buffer: bytes) -> Module:
        try:
            return Module(device.load(buffer), "close")
        except EngineError:
            raise LogicError("cuModuleLoadDataEx failed: device kernel image is invalid - ") from None

    def mem_get_info() -> tuple[int, int]:
        stacks.top()
        return device.free_bytes(), device.most_bytes

    def check_left() -> None:
        """Assert that no thread left a context on its stack, and that nothing leaked."""
        assert not any(stacks.of.values()), "PyCUDA would abort: a thread ended with a context on its stack"
        assert not leaks, leaks

    module: Any = ModuleType("pycuda.driver")
    for kind in (Error, MemoryError, LogicError, LaunchError, RuntimeError, Device, Context, Stream, Event):
        setattr(module, kind.__name__, kind)
    for function in (
        *(mem_alloc, pagelocked_empty, memcpy_htod_async, memcpy_dtoh_async),
        *(module_from_buffer, mem_get_info, check_left),
    ):
        setattr(module, function.__name__, function)
    module.init = lambda flags=0: None
    module.below, module.stacks, module.leaks = device, stacks, leaks
    return module
