"""The seam over NumPy: a GPU that keeps nothing done before it is asked to synchronise.

Faithful where mistakes hide: work on a stream runs late and in order, memory is 256-byte aligned and full of
rubbish, and a thread that did not make the device current is refused.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError

ALIGNMENT = 256
RUBBISH = 0xA5


@dataclass
class NumpyMemory:
    owner: "NumpyDevice"
    nbytes: int
    address: int
    bytes: NDArray[np.uint8]
    freed: bool = False

    @property
    def data(self) -> NDArray[np.uint8]:
        assert not self.freed
        return self.bytes

    def free(self) -> None:
        self.freed = True
        self.owner.memory.pop(self.address, None)


@dataclass
class NumpyStream:
    owner: "NumpyDevice"
    handle: int
    work: list[Callable[[], None]] = field(default_factory=list)
    closed: bool = False

    def upload(self, source: NumpyMemory, target: NumpyMemory, nbytes: int) -> None:
        self._copy(source, target, nbytes)

    def download(self, source: NumpyMemory, target: NumpyMemory, nbytes: int) -> None:
        self._copy(source, target, nbytes)

    def _copy(self, source: NumpyMemory, target: NumpyMemory, nbytes: int) -> None:
        if nbytes > min(source.nbytes, target.nbytes):
            raise ValueError(f"a copy of {nbytes} bytes between {source.nbytes} and {target.nbytes}")

        def copy() -> None:
            target.data[:nbytes] = source.data[:nbytes]

        self.enqueue(copy)

    def enqueue(self, work: Callable[[], None]) -> None:
        self.owner.check_current()
        assert not self.closed
        self.work.append(work)

    def synchronise(self) -> None:
        self.owner.check_current()
        work, self.work = self.work, []
        for step in work:
            step()

    def close(self) -> None:
        self.closed = True
        self.owner.streams.pop(self.handle, None)


@dataclass
class NumpyDevice:
    description: str = "NumPy, 8.6"
    compute_capability: str = "8.6"
    uuid: str = "5f1e0c2a-1111-2222-3333-444455556666"
    most_bytes: int = 1 << 28
    memory: dict[int, NumpyMemory] = field(default_factory=dict)
    streams: dict[int, NumpyStream] = field(default_factory=dict)
    handles: int = 2  # CUDA names its default streams 0, 1 and 2
    current: threading.local = field(default_factory=threading.local)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make_current(self) -> None:
        self.current.yes = True

    def check_current(self) -> None:
        assert getattr(self.current, "yes", False), "this thread did not make the device current"

    def stream(self) -> NumpyStream:
        self.check_current()
        with self.lock:
            self.handles += 1
            stream = NumpyStream(self, self.handles)
            self.streams[stream.handle] = stream
        return stream

    def device_memory(self, nbytes: int) -> NumpyMemory:
        return self._allocate(nbytes)

    def host_memory(self, nbytes: int) -> NumpyMemory:
        return self._allocate(nbytes)

    def _allocate(self, nbytes: int) -> NumpyMemory:
        self.check_current()
        if sum(memory.nbytes for memory in self.memory.values()) + nbytes > self.most_bytes:
            raise EngineError(f"the GPU has no {nbytes} bytes left")
        room = np.full(nbytes + ALIGNMENT, RUBBISH, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        memory = NumpyMemory(self, nbytes, room.ctypes.data + start, room[start : start + nbytes])
        self.memory[memory.address] = memory
        return memory
