"""The stream: readers -> portions -> workers -> blocks -> writers, over bounded memory.

    slots     as many blocks as may be in memory at once; a reader takes a slot, a writer gives it back
    portions  queue of (job, tiles), a tile each for a processor and all of a block's for a GPU (`Work`);
              unbounded, since only blocks with a slot put portions into it
    whole     queue of jobs whose tiles are all done

Peak memory is a function of the block shape and the number of slots, never of the volume. The first error
anywhere stops every thread and is raised in the caller's; Ctrl-C lets blocks that are being written finish,
so that what the ledger says is true.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Occupancy
from dmn_runtime.engines.base import BlockEngine, Engine
from dmn_runtime.geometry import Triple
from dmn_runtime.plan import Block, Plan, Tile
from dmn_runtime.volume.base import Voxels

_POLL_S = 0.1
_Item = TypeVar("_Item")


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


def threads_for_gpu(lanes: int, cores: int) -> Threads:
    """Choose the threads around a GPU, which wants more read and written than one thread can.

    One block in each lane, one read ahead for each reader, one on its way out for each writer.
    """
    readers, writers = max(1, min(4, cores // 4)), max(1, min(8, cores // 2))
    return Threads(readers, lanes, writers, slots=lanes + 2 * readers + writers)


@dataclass
class Job:
    """A block on its way: filled portion by portion, from several threads, the count under `lock`.

    `patch` is what `Steps.read` gave, `probability` uint8 zyx over the block's core.
    """

    block: Block
    patch: Voxels
    probability: NDArray[np.uint8]
    remaining: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class Work(Protocol):
    """What the workers do; called from several threads at once."""

    def portions(self, block: Block) -> tuple[tuple[Tile, ...], ...]:
        """Cut a block's tiles into what one call of `segment` takes."""
        ...

    def segment(self, job: Job, tiles: tuple[Tile, ...]) -> None:
        """Segment `tiles` of a job into its probability."""
        ...


@dataclass(frozen=True)
class ByTile:
    """Tile by tile, for engines that segment what they are handed; satisfies `Work`."""

    engine: Engine
    plan: Plan

    def portions(self, block: Block) -> tuple[tuple[Tile, ...], ...]:
        """Return every tile alone."""
        return tuple((tile,) for tile in block.tiles)

    def segment(self, job: Job, tiles: tuple[Tile, ...]) -> None:
        """Segment tiles one after another."""
        for tile in tiles:
            read = tile.read(self.plan.footprint).relative_to(job.block.read.start)
            inner = self.engine.segment(job.patch[read.slices])
            core = tile.core.relative_to(tile.inner.start)
            job.probability[tile.core.relative_to(job.block.core.start).slices] = inner[core.slices]


@dataclass(frozen=True)
class ByBlock:
    """Whole blocks, for engines that cut the tiles themselves; satisfies `Work`."""

    engine: BlockEngine

    def portions(self, block: Block) -> tuple[tuple[Tile, ...], ...]:
        """Return all tiles together."""
        return (block.tiles,)

    def segment(self, job: Job, tiles: tuple[Tile, ...]) -> None:
        """Segment the whole block."""
        assert tiles == job.block.tiles
        self.engine.segment_block(job.block, job.patch, job.probability)


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
    plan: Plan, indices: Iterable[int], work: Work, steps: Steps, threads: Threads, queues: Occupancy
) -> None:
    """Stream the blocks `indices` of `plan` through `work`.

    Args:
        plan: of the run.
        indices: of the blocks that are to be done.
        work: what the workers do.
        steps: what comes before and after them.
        threads: how many of each.
        queues: hears how many blocks are read and wait for or are under work ("segment"), and how many wait
            for the writer or are written ("write").

    Raises:
        BaseException: the first error of any step, or KeyboardInterrupt; all threads have ended by then.
    """
    stream = _Stream(plan, iter(indices), work, steps, threads, queues)
    running = [threading.Thread(target=stream.guarded, args=(loop,), daemon=True) for loop in stream.loops()]
    try:
        for thread in running:
            thread.start()
        _wait(stream, running)
    except BaseException as error:
        _end_whatever_comes(stream, running, error)
    if stream.failures:
        raise stream.failures[0]


def _wait(stream: "_Stream", running: Sequence[threading.Thread]) -> None:
    """Wait until all threads that were started have ended.

    By their own word: a `Thread.join` that Ctrl-C interrupts takes a living thread for ended (CPython 3.11).
    """
    while stream.is_running(running):
        with suppress(queue.Empty):
            stream.ends.get(timeout=_POLL_S)
    for thread in running:
        if thread.ident is not None:
            thread.join()


def _end_whatever_comes(stream: "_Stream", running: Sequence[threading.Thread], error: BaseException) -> None:
    """Stop all threads and wait for them, whose last writes must be whole.

    An impatient second Ctrl-C, whenever it comes, changes nothing.
    """
    while not stream.failures or stream.is_running(running):
        with suppress(KeyboardInterrupt):
            stream.fail(error)
            _wait(stream, running)


class _Stream:
    """The threads' shared state."""

    def __init__(
        self,
        plan: Plan,
        indices: Iterator[int],
        work: Work,
        steps: Steps,
        threads: Threads,
        queues: Occupancy,
    ) -> None:
        self.plan = plan
        self.indices = indices
        self.work = work
        self.steps = steps
        self.threads = threads
        self.queues = queues
        self.failures: list[BaseException] = []
        self.ended: list[threading.Thread] = []
        self.ends: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._feeding = threading.Lock()  # of its own: the next index may be long in coming
        self._slots = threading.Semaphore(threads.slots)
        self._portions: queue.SimpleQueue[tuple[Job, tuple[Tile, ...]] | None] = queue.SimpleQueue()
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
        """Stop everything and keep the error, of which the first counts; waits for no step."""
        self.stopped.set()
        self.failures.append(error)

    def guarded(self, loop: Callable[[], None]) -> None:
        """Run one thread's body; whatever it raises stops the stream."""
        try:
            loop()
        except BaseException as error:
            self.fail(error)
        finally:
            self.ended.append(threading.current_thread())
            self.ends.put(None)  # wakes who waits; an interrupt may lose it, but not the thread above

    def is_running(self, threads: Sequence[threading.Thread]) -> bool:
        """Tell whether any thread was started and has not ended."""
        return any(thread.ident is not None and thread not in self.ended for thread in threads)

    def read_loop(self) -> None:
        """Take slots, read blocks, hand out their tiles."""
        while (block := self._next_block()) is not None:
            patch, portions = self.steps.read(block), self.work.portions(block)
            job = Job(block, patch, np.empty(block.core.shape, np.uint8), len(portions))
            self.queues.change("segment", +1)
            for tiles in portions:
                self._portions.put((job, tiles))
        with self._lock:
            self._reading -= 1
            last = self._reading == 0
        if last:
            for _ in range(self.threads.workers):
                self._portions.put(None)

    def work_loop(self) -> None:
        """Segment tiles; pass a block on with its last one."""
        while (task := self._get(self._portions)) is not None:
            job, tiles = task
            self.work.segment(job, tiles)
            self.steps.done(sum(tile.core.size for tile in tiles))
            with job.lock:
                job.remaining -= 1
                whole = job.remaining == 0
            if whole:
                self.queues.change("segment", -1)
                self.queues.change("write", +1)
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
            self.queues.change("write", -1)
            self._slots.release()

    def _next_block(self) -> Block | None:
        while not self._slots.acquire(timeout=_POLL_S):
            if self.stopped.is_set():
                return None
        with self._feeding:
            index = None if self.stopped.is_set() else next(self.indices, None)
        return None if index is None else self.plan.block_at(index)

    def _get(self, source: "queue.SimpleQueue[_Item | None]") -> _Item | None:
        while not self.stopped.is_set():
            try:
                return source.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return None


def in_flight_bytes(plan: Plan, itemsize: int, threads: Threads) -> int:
    """Return what the blocks in flight take at most: patch, probability, output and mask of every slot."""
    read: Triple = plan.block_at(0).read.shape
    patch = read[0] * read[1] * read[2] * (itemsize + 1)
    output = 2 * plan.block[0] * plan.block[1] * plan.block[2]
    return threads.slots * (patch + output)
