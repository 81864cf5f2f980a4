"""The stream: readers -> tiles -> workers -> blocks -> writers, over bounded memory.

    slots   as many blocks as may be in memory at once; a reader takes a slot, a writer gives it back
    tiles   queue of (job, tile); unbounded, since only blocks with a slot put tiles into it
    whole   queue of jobs whose tiles are all done

Peak memory is a function of the block shape and the number of slots, never of the volume. The first error
anywhere stops every thread and is raised in the caller's; Ctrl-C lets blocks that are being written finish,
so that what the ledger says is true.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.engines.base import Engine
from dmn_runtime.geometry import Triple
from dmn_runtime.plan import Block, Plan, Tile
from dmn_runtime.volume.base import Voxels

_POLL_S = 0.1
_Item = TypeVar("_Item")


class Clock:
    """Busy seconds by stage, summed over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent inside to stage `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            spent = perf_counter() - start
            with self._lock:
                self._busy_s[name] = self._busy_s.get(name, 0.0) + spent

    @property
    def busy_s(self) -> dict[str, float]:
        """Busy seconds of every stage so far."""
        with self._lock:
            return dict(self._busy_s)


@dataclass(frozen=True)
class Threads:
    """How many threads of each kind, and how many blocks may be in memory at once."""

    readers: int
    workers: int
    writers: int
    slots: int


def threads_for(workers: int) -> Threads:
    """Choose the other threads for a number of workers.

    One block is being read, one segmented, one written; a second one each way hides unequal times.
    """
    return Threads(readers=1, workers=workers, writers=1, slots=4 + workers // 4)


@dataclass
class Job:
    """A block on its way: filled tile by tile, from several threads, under `lock`."""

    block: Block
    patch: Voxels
    probability: NDArray[np.uint8]
    remaining: int
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Steps:
    """What the stream calls; each may be called from several threads at once.

    `read(block)` returns the voxels of `block.read`; `write(block, probability)` takes those of `block.core`,
    on the working grid; `done(voxels)` hears of every finished tile.
    """

    read: Callable[[Block], Voxels]
    write: Callable[[Block, NDArray[np.uint8]], None]
    done: Callable[[int], None]


def run_stream(
    plan: Plan, indices: Sequence[int], engine: Engine, steps: Steps, threads: Threads, clock: Clock
) -> None:
    """Stream the blocks `indices` of `plan` through `engine`.

    Raises:
        BaseException: the first error of any step, or KeyboardInterrupt; all threads have ended by then.
    """
    stream = _Stream(plan, iter(indices), engine, steps, threads, clock)
    running = [threading.Thread(target=stream.guarded, args=(loop,), daemon=True) for loop in stream.loops()]
    try:
        for thread in running:
            thread.start()
        _join(running)
    except KeyboardInterrupt as interrupt:
        stream.fail(interrupt)
        _join_whatever_comes(running)
    if stream.failure is not None:
        raise stream.failure


def _join(running: Sequence[threading.Thread]) -> None:
    for thread in running:
        while thread.is_alive():
            thread.join(_POLL_S)


def _join_whatever_comes(running: Sequence[threading.Thread]) -> None:
    """Wait for all threads, whose last writes must be whole; an impatient second Ctrl-C changes nothing."""
    while any(thread.is_alive() for thread in running):
        try:
            _join(running)
        except KeyboardInterrupt:
            continue


class _Stream:
    """The threads' shared state."""

    def __init__(
        self,
        plan: Plan,
        indices: Iterator[int],
        engine: Engine,
        steps: Steps,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self.plan = plan
        self.indices = indices
        self.engine = engine
        self.steps = steps
        self.threads = threads
        self.clock = clock
        self.failure: BaseException | None = None
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(threads.slots)
        self._tiles: queue.SimpleQueue[tuple[Job, Tile] | None] = queue.SimpleQueue()
        self._whole: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._reading = threads.readers
        self._working = threads.workers

    def loops(self) -> list[Callable[[], None]]:
        """Return the body of every thread."""
        return (
            [self.read_loop] * self.threads.readers
            + [self.work_loop] * self.threads.workers
            + [self.write_loop] * self.threads.writers
        )

    def fail(self, error: BaseException) -> None:
        """Keep the first error and stop everything."""
        with self._lock:
            self.failure = self.failure or error
        self.stopped.set()

    def guarded(self, loop: Callable[[], None]) -> None:
        """Run one thread's body; whatever it raises stops the stream."""
        try:
            loop()
        except BaseException as error:
            self.fail(error)

    def read_loop(self) -> None:
        """Take slots, read blocks, hand out their tiles."""
        while (block := self._next_block()) is not None:
            patch = self.steps.read(block)
            job = Job(block, patch, np.empty(block.core.shape, np.uint8), len(block.tiles))
            for tile in block.tiles:
                self._tiles.put((job, tile))
        with self._lock:
            self._reading -= 1
            last = self._reading == 0
        if last:
            for _ in range(self.threads.workers):
                self._tiles.put(None)

    def work_loop(self) -> None:
        """Segment tiles; pass a block on with its last one."""
        while (task := self._get(self._tiles)) is not None:
            job, tile = task
            _segment(job, tile, self.plan, self.engine, self.clock)
            self.steps.done(tile.core.size)
            with job.lock:
                job.remaining -= 1
                whole = job.remaining == 0
            if whole:
                self._whole.put(job)
        with self._lock:
            self._working -= 1
            last = self._working == 0
        if last:
            for _ in range(self.threads.writers):
                self._whole.put(None)

    def write_loop(self) -> None:
        """Write whole blocks and give their slots back."""
        while (job := self._get(self._whole)) is not None:
            self.steps.write(job.block, job.probability)
            self._slots.release()

    def _next_block(self) -> Block | None:
        while not self._slots.acquire(timeout=_POLL_S):
            if self.stopped.is_set():
                return None
        with self._lock:
            index = None if self.stopped.is_set() else next(self.indices, None)
        return None if index is None else self.plan.block_at(index)

    def _get(self, source: "queue.SimpleQueue[_Item | None]") -> _Item | None:
        while not self.stopped.is_set():
            try:
                return source.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return None


def _segment(job: Job, tile: Tile, plan: Plan, engine: Engine, clock: Clock) -> None:
    read = tile.read(plan.footprint).relative_to(job.block.read.start)
    with clock.stage("network"):
        inner = engine.segment(job.patch[read.slices])
    core = tile.core.relative_to(tile.inner.start)
    job.probability[tile.core.relative_to(job.block.core.start).slices] = inner[core.slices]


def in_flight_bytes(plan: Plan, itemsize: int, threads: Threads) -> int:
    """Return what the blocks in flight take at most: patch, probability, output and mask of every slot."""
    read: Triple = plan.block_at(0).read.shape
    patch = read[0] * read[1] * read[2] * (itemsize + 1)
    output = 2 * plan.block[0] * plan.block[1] * plan.block[2]
    return threads.slots * (patch + output)
