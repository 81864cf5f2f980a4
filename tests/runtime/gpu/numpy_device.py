"""The seam over NumPy: a GPU that does nothing before it must, and minds every rule of the seam.

Faithful where mistakes hide, and stricter than CUDA, which forgives in silence what these assertions refuse:

- work runs late and in order; while one stream is synchronised the others make random progress (`seed`);
- memory is 256-byte aligned, full of rubbish, fenced on both sides, limited (`most_bytes`), and not to be
  freed while enqueued work uses it, nor used after;
- the host must leave the source of an upload alone until it is done, and finds rubbish where a download is
  not;
- two streams that touch the same memory, one of them writing, need a synchronisation between them;
- inside a capture nothing is synchronised, allocated or freed; a graph keeps addresses and reads contents
  when it runs;
- a thread that did not make the device current is refused; `check_empty` finds what was not given back.
"""

import random
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.geometry import Triple

ALIGNMENT = 256
RUBBISH = 0xA5
FATBIN = b"\x50\xed\x55\xba\x01\x00\x10\x00" + bytes(8)
"""What `load` takes for a module: the magic number of a fatbin, and nothing."""

_FENCE = 0x5C
_GRAVEYARD_BYTES = 1 << 25


@dataclass(frozen=True)
class Touches:
    """Which of a kernel's arguments are addresses that it reads, and that it writes."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]


TOUCHES = {"dmn_gather_": Touches((0, 1, 2), (3,)), "dmn_scatter_": Touches((0, 1), (7, 8))}
"""How a kernel's name begins -> what it touches; of others every address counts as read and written."""

KernelTable = Mapping[str, Callable[[Triple, Triple, Sequence[Any]], None]]


class Shim(Protocol):
    """What runs the real kernels on the CPU (shim/shim.py)."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def launch(self, name: str, grid: Triple, block: Triple, arguments: Sequence[Any]) -> None: ...


@dataclass(eq=False)
class NumpyMemory:
    owner: "NumpyDevice"
    nbytes: int
    address: int
    room: NDArray[np.uint8]
    """The bytes and a fence on either side."""
    bytes: NDArray[np.uint8]
    on_device: bool
    freed: bool = False

    @property
    def data(self) -> NDArray[np.uint8]:
        assert not self.freed, "memory is used after it was given back"
        return self.bytes

    def free(self) -> None:
        if not self.freed:
            self.owner.bury(self)

    def check_fence(self) -> None:
        start = self.address - self.room.ctypes.data
        for side in (self.room[:start], self.room[start + self.nbytes :]):
            assert (side == _FENCE).all(), f"something was written beside the {self.nbytes} bytes of a memory"


@dataclass(frozen=True)
class Task:
    """What is enqueued. `begin` is called then, by the host, and gives a check for when the task is run."""

    what: str
    run: Callable[[], None]
    reads: tuple[NumpyMemory, ...] = ()
    writes: tuple[NumpyMemory, ...] = ()
    begin: Callable[[], Callable[[], None]] | None = None

    @property
    def touched(self) -> tuple[NumpyMemory, ...]:
        return self.reads + self.writes

    def clashes_with(self, other: "Task") -> bool:
        return any(memory in other.touched for memory in self.writes) or any(
            memory in other.writes for memory in self.reads
        )


@dataclass(frozen=True)
class Step:
    task: Task
    check: Callable[[], None] | None


@dataclass(frozen=True)
class NumpyKernel:
    name: str
    module: "NumpyModule"


@dataclass(eq=False)
class NumpyModule:
    owner: "NumpyDevice"
    closed: bool = False

    def kernel(self, name: str) -> NumpyKernel:
        self.owner.check_current()
        assert not self.closed, "a kernel is asked of a module that was given back"
        if name not in self.owner.kernel_names():
            raise EngineError(f"there is no kernel {name}")
        return NumpyKernel(name, self)

    def close(self) -> None:
        if not self.closed:
            self.owner.check_giving_back("a module")
            using = [step for step in self.owner.all_steps() if step.task.what.startswith("kernel ")]
            assert not using, "a module is given back while work is enqueued that may be its"
            self.closed = True
            self.owner.modules.remove(self)


@dataclass(eq=False)
class NumpyMark:
    owner: "NumpyDevice"
    time_s: float | None = None
    closed: bool = False

    def seconds_since(self, earlier: "NumpyMark") -> float:
        assert not any(mark.closed for mark in (self, earlier)), "a mark is read after it was given back"
        assert self.time_s is not None, "a mark is read before it was passed"
        assert earlier.time_s is not None, "a mark is read before it was passed"
        return self.time_s - earlier.time_s

    def close(self) -> None:
        if not self.closed:
            self.owner.check_giving_back("a mark")
            self.closed = True
            self.owner.marks.remove(self)


@dataclass(eq=False)
class NumpyGraph:
    owner: "NumpyDevice"
    tasks: tuple[Task, ...]
    closed: bool = False

    def launch(self, stream: "NumpyStream") -> None:
        assert not self.closed, "a graph is launched after it was given back"
        assert stream.captured is None, "a graph is launched inside a capture"
        self.owner.refuse_if_planned("graph")
        for task in self.tasks:
            stream.put(task)

    def close(self) -> None:
        if not self.closed:
            self.owner.check_giving_back("a graph")
            enqueued = {id(step.task) for step in self.owner.all_steps()}
            assert not enqueued & {id(task) for task in self.tasks}, "a graph is given back while it runs"
            self.closed = True
            self.owner.graphs.remove(self)


@dataclass
class NumpyCapture:
    done: NumpyGraph | None = None

    @property
    def graph(self) -> NumpyGraph:
        if self.done is None:
            raise ValueError("the capture has not ended")
        return self.done


@dataclass(eq=False)
class NumpyStream:
    owner: "NumpyDevice"
    handle: int
    work: deque[Step] = field(default_factory=deque)
    unsynchronised: list[Task] = field(default_factory=list)
    captured: list[Task] | None = None
    capturer: int | None = None
    fault: Exception | None = None
    closed: bool = False

    def upload(self, source: NumpyMemory, target: NumpyMemory, nbytes: int) -> None:
        self._copy("upload", source, target, nbytes, self._watch(source, nbytes))

    def download(self, source: NumpyMemory, target: NumpyMemory, nbytes: int) -> None:
        self._copy("download", source, target, nbytes, self._spoil(target, nbytes))

    def _copy(
        self,
        what: str,
        source: NumpyMemory,
        target: NumpyMemory,
        nbytes: int,
        begin: Callable[[], Callable[[], None]],
    ) -> None:
        if nbytes > min(source.nbytes, target.nbytes):
            raise ValueError(f"a copy of {nbytes} bytes between {source.nbytes} and {target.nbytes}")
        assert source.on_device == (what == "download"), f"the source of the {what} is on the wrong side"
        assert target.on_device == (what == "upload"), f"the target of the {what} is on the wrong side"

        def copy() -> None:
            target.data[:nbytes] = source.data[:nbytes]

        self.put(Task(what, copy, (source,), (target,), begin))

    def _watch(self, source: NumpyMemory, nbytes: int) -> Callable[[], Callable[[], None]]:
        def begin() -> Callable[[], None]:
            digest = zlib.crc32(source.data[:nbytes])

            def check() -> None:
                now = zlib.crc32(source.data[:nbytes])
                assert now == digest, "the host changed the source of an upload before it was done"

            return check

        return begin

    def _spoil(self, target: NumpyMemory, nbytes: int) -> Callable[[], Callable[[], None]]:
        def begin() -> Callable[[], None]:
            target.data[:nbytes] = RUBBISH
            return lambda: None

        return begin

    def launch(self, kernel: NumpyKernel, grid: Triple, block: Triple, arguments: Sequence[Any]) -> None:
        device = self.owner
        assert kernel.module.owner is device, "a kernel of another device"
        assert not kernel.module.closed, "a kernel is launched after its module was given back"
        for argument in arguments:
            if type(argument) not in (np.int32, np.int64, np.float32, np.uint64):
                raise TypeError(f"a kernel takes NumPy's scalars of fixed size, not {type(argument)}")
        if min(*grid, *block) < 1 or int(np.prod(block)) > 1024:
            raise EngineError(f"the kernel {kernel.name} cannot be launched on {grid} blocks of {block}")
        device.refuse_if_planned("launch")
        reads, writes = device.touched_by(kernel.name, arguments)

        def run() -> None:
            device.run_kernel(kernel.name, grid, block, tuple(arguments))
            for memory in writes:
                memory.check_fence()

        self.put(Task(f"kernel {kernel.name}", run, reads, writes))

    def enqueue(
        self,
        work: Callable[[], None],
        reads: Sequence[int] = (),
        writes: Sequence[int] = (),
        what: str = "work",
    ) -> None:
        """Enqueue what a library does on this stream; `reads` and `writes`: addresses on the device."""
        find = self.owner.memory_at
        self.put(Task(what, work, tuple(find(at) for at in reads), tuple(find(at) for at in writes)))

    def put(self, task: Task) -> None:
        """Enqueue a task, or capture it."""
        device = self.owner
        device.check_current()
        with device.lock:
            assert not self.closed, "a stream is used after it was given back"
            for memory in task.touched:
                assert not memory.freed, f"{task.what} is enqueued on memory that was given back"
            if self.captured is not None:
                assert self.capturer == threading.get_ident(), "another thread enqueues inside a capture"
                self.captured.append(task)
                return
            device.check_clash(self, task)
            self.unsynchronised.append(task)
            self.work.append(Step(task, task.begin() if task.begin else None))

    def mark(self) -> NumpyMark:
        device = self.owner
        assert self.captured is None, "a mark inside a capture"
        device.refuse_if_planned("mark")
        mark = NumpyMark(device)

        def pass_it() -> None:
            mark.time_s = device.clock_s

        self.put(Task("mark", pass_it))
        device.marks.append(mark)
        return mark

    @contextmanager
    def capturing(self) -> Iterator[NumpyCapture]:
        device = self.owner
        device.check_current()
        if not device.has_graphs:
            raise EngineError("this device captures no graphs")
        assert self.captured is None, "a capture inside a capture"
        device.refuse_if_planned("capture")
        self.captured, self.capturer = [], threading.get_ident()
        device.current.capturing = True
        capture = NumpyCapture()
        try:
            yield capture
        finally:
            tasks, self.captured, self.capturer = tuple(self.captured), None, None
            device.current.capturing = False
        device.refuse_if_planned("instantiate")
        capture.done = NumpyGraph(device, tasks)
        device.graphs.append(capture.done)

    def synchronise(self) -> None:
        device = self.owner
        device.check_current()
        assert not device.is_capturing(), "something is synchronised inside a capture"
        assert self.captured is None, "a capturing stream is synchronised"
        assert not self.closed, "a stream is used after it was given back"
        with device.lock:
            device.run_until_done(self)
            self.unsynchronised.clear()
            fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        device.refuse_if_planned("synchronise")

    def close(self) -> None:
        if not self.closed:
            self.owner.check_giving_back("a stream")
            assert self.captured is None, "a stream is given back while it captures"
            assert not self.unsynchronised, "a stream is given back before its work is known to be done"
            self.closed = True
            with self.owner.lock:
                self.owner.streams.pop(self.handle)


@dataclass(eq=False)
class NumpyDevice:
    """The device.

    Attributes:
        most_bytes: of its memory; pinned memory of the host does not count.
        seed: of the order in which streams make progress.
        kernels: name -> what runs in its place, at once; None: the real ones, through the shim.
        touches: see `TOUCHES`.
        refusals: operation -> the errors that its next calls raise; None lets a call pass. Operations are
            device_memory, host_memory, stream, load, launch, graph, capture, instantiate, mark, synchronise.
    """

    description: str = "NumPy, 8.6"
    compute_capability: str = "8.6"
    uuid: str = "5f1e0c2a-1111-2222-3333-444455556666"
    has_graphs: bool = True
    most_bytes: int = 1 << 28
    seed: int = 0
    kernels: KernelTable | None = None
    touches: dict[str, Touches] = field(default_factory=lambda: dict(TOUCHES))
    refusals: dict[str, list[Exception | None]] = field(default_factory=dict)
    memory: dict[int, NumpyMemory] = field(default_factory=dict)
    streams: dict[int, NumpyStream] = field(default_factory=dict)
    marks: list[NumpyMark] = field(default_factory=list)
    graphs: list[NumpyGraph] = field(default_factory=list)
    modules: list[NumpyModule] = field(default_factory=list)
    graveyard: deque[NumpyMemory] = field(default_factory=deque)
    handles: int = 2  # CUDA names its default streams 0, 1 and 2
    clock_s: float = 0.0
    peak_bytes: int = 0
    current: threading.local = field(default_factory=threading.local)
    lock: threading.RLock = field(default_factory=threading.RLock)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    # ---- the seam

    def make_current(self) -> None:
        self.current.yes = True

    def free_bytes(self) -> int:
        self.check_current()
        return self.most_bytes - self._taken_bytes()

    def load(self, fatbin: bytes) -> NumpyModule:
        self.check_current()
        self.check_allocating("a module")
        self.refuse_if_planned("load")
        if not fatbin.startswith(FATBIN[:4]):
            raise EngineError("the kernels cannot be loaded, since this is no module")
        module = NumpyModule(self)
        self.modules.append(module)
        return module

    def stream(self) -> NumpyStream:
        self.check_current()
        self.check_allocating("a stream")
        self.refuse_if_planned("stream")
        with self.lock:
            self.handles += 1
            stream = NumpyStream(self, self.handles)
            self.streams[stream.handle] = stream
        return stream

    def device_memory(self, nbytes: int) -> NumpyMemory:
        self.refuse_if_planned("device_memory")
        with self.lock:
            if self._taken_bytes() + nbytes > self.most_bytes:
                raise GpuMemoryError(f"the GPU has no {nbytes} bytes left")
            memory = self._allocate(nbytes, on_device=True)
            self.peak_bytes = max(self.peak_bytes, self._taken_bytes())
            return memory

    def host_memory(self, nbytes: int) -> NumpyMemory:
        self.refuse_if_planned("host_memory")
        try:
            return self._allocate(nbytes, on_device=False)
        except MemoryError as error:
            raise GpuMemoryError(f"the computer has no {nbytes} bytes left") from error

    # ---- what the tests ask

    def check_empty(self) -> None:
        """Assert that all was given back and nothing was written outside its memory."""
        for memory in self.graveyard:
            memory.check_fence()
        left = {
            "memory": [(memory.address, memory.nbytes) for memory in self.memory.values()],
            "streams": list(self.streams),
            "marks": self.marks,
            "graphs": self.graphs,
            "modules": self.modules,
        }
        assert not any(left.values()), (
            f"not given back: { {name: what for name, what in left.items() if what} }"
        )

    def memory_at(self, address: int) -> NumpyMemory:
        """Return the device memory that holds `address`."""
        with self.lock:  # other threads take and give back meanwhile
            held = list(self.memory.values())
        for memory in held:
            if memory.address <= address < memory.address + memory.nbytes:
                assert memory.on_device, "work on the GPU is given an address of the host"
                return memory
        raise AssertionError(f"no memory of the GPU is at {address}: it was given back, or never taken")

    # ---- what the parts ask

    def check_current(self) -> None:
        assert getattr(self.current, "yes", False), "this thread did not make the device current"

    def is_capturing(self) -> bool:
        return getattr(self.current, "capturing", False)

    def check_allocating(self, what: str) -> None:
        assert not self.is_capturing(), f"{what} is taken inside a capture"

    def check_giving_back(self, what: str) -> None:
        self.check_current()
        assert not self.is_capturing(), f"{what} is given back inside a capture"

    def refuse_if_planned(self, operation: str) -> None:
        with self.lock:
            planned = self.refusals.get(operation)
            error = planned.pop(0) if planned else None
        if error is not None:
            raise error

    def all_steps(self) -> list[Step]:
        with self.lock:
            return [step for stream in self.streams.values() for step in stream.work]

    def check_clash(self, stream: NumpyStream, task: Task) -> None:
        for other in self.streams.values():
            for earlier in other.unsynchronised if other is not stream else ():
                assert not task.clashes_with(earlier), (
                    f"{task.what} on one stream and {earlier.what} on another touch the same memory, and "
                    "nothing was synchronised between them"
                )

    def run_until_done(self, stream: NumpyStream) -> None:
        """Run a stream's work; others with work take random turns."""
        while stream.work:
            self._step(self.chance.choice([each for each in self.streams.values() if each.work]))

    def _step(self, stream: NumpyStream) -> None:
        step = stream.work.popleft()
        for memory in step.task.touched:
            assert not memory.freed, f"{step.task.what} runs on memory that was given back"
        if step.check is not None:
            step.check()
        self.clock_s += 1e-3
        try:
            step.task.run()
        except EngineError as error:  # a GPU tells the stream's owner, when he waits
            stream.fault = stream.fault or error

    def touched_by(
        self, name: str, arguments: Sequence[Any]
    ) -> tuple[tuple[NumpyMemory, ...], tuple[NumpyMemory, ...]]:
        """Return the memory that a kernel reads and writes."""
        every = tuple(i for i, argument in enumerate(arguments) if type(argument) is np.uint64)
        known = [touches for start, touches in self.touches.items() if name.startswith(start)]
        touches = known[0] if known else Touches(every, every)

        def found(positions: tuple[int, ...]) -> tuple[NumpyMemory, ...]:
            return tuple(self.memory_at(int(arguments[i])) for i in positions if int(arguments[i]))

        return found(touches.reads), found(touches.writes)

    def kernel_names(self) -> tuple[str, ...]:
        return tuple(self.kernels) if self.kernels is not None else _shim().names

    def run_kernel(self, name: str, grid: Triple, block: Triple, arguments: Sequence[Any]) -> None:
        if self.kernels is None:
            _shim().launch(name, grid, block, arguments)
        else:
            self.kernels[name](grid, block, arguments)

    def bury(self, memory: NumpyMemory) -> None:
        """Give memory back; its place is kept a while, so that no other memory hides a late use."""
        self.check_giving_back("memory")
        with self.lock:
            using = [step.task.what for step in self.all_steps() if memory in step.task.touched]
            assert not using, f"memory is given back while work is enqueued that uses it: {', '.join(using)}"
            memory.check_fence()
            memory.bytes[:] = RUBBISH
            memory.freed = True
            del self.memory[memory.address]
            self.graveyard.append(memory)
            while sum(each.nbytes for each in self.graveyard) > _GRAVEYARD_BYTES:
                self.graveyard.popleft()

    def _taken_bytes(self) -> int:
        with self.lock:
            return sum(memory.nbytes for memory in self.memory.values() if memory.on_device)

    def _allocate(self, nbytes: int, *, on_device: bool) -> NumpyMemory:
        self.check_current()
        self.check_allocating("memory")
        assert nbytes > 0, "no bytes are asked for"
        room = np.full(nbytes + 3 * ALIGNMENT, _FENCE, np.uint8)
        start = ALIGNMENT - room.ctypes.data % ALIGNMENT
        start += 0 if start >= ALIGNMENT else ALIGNMENT
        inside = room[start : start + nbytes]
        inside[:] = RUBBISH
        memory = NumpyMemory(self, nbytes, room.ctypes.data + start, room, inside, on_device)
        with self.lock:
            self.memory[memory.address] = memory
        return memory


def _shim() -> Shim:
    """Return the compiled kernels; imported by file, since tests are no package."""
    import importlib.util
    import sys
    from pathlib import Path

    title = "dmn_test_shim"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).with_name("shim") / "shim.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    compiled: Shim = sys.modules[title].compiled()
    return compiled
