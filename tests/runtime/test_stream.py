"""The stream: every block once, bounded memory, the first error out, Ctrl-C that waits for writes."""

import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator

import numpy as np
import pytest

from dmn_runtime.clock import Occupancy
from dmn_runtime.geometry import whole
from dmn_runtime.plan import Block, Footprint, Plan, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.stream import ByBlock, ByTile, Steps, Threads, Work, _Stream, run_stream, threads_for


class Doubling:
    """An engine without a network: the core's grey values, doubled."""

    name = "doubling"
    description = "a stand-in"

    def __init__(self, footprint: Footprint) -> None:
        self.footprint = footprint

    def segment(self, patch: np.ndarray) -> np.ndarray:
        c, h = self.footprint.context_slices, self.footprint.halo_px
        core = patch[c : patch.shape[0] - c, h : patch.shape[1] - h, h : patch.shape[2] - h]
        return core * 2

    def close(self) -> None: ...


class DoublingBlocks:
    """The same for whole blocks."""

    name = "doubling"
    description = "a stand-in"

    def __init__(self, footprint: Footprint) -> None:
        self.footprint = footprint
        self.calls: list[int] = []

    def segment_block(self, block: Block, patch: np.ndarray, probability: np.ndarray) -> None:
        self.calls.append(block.index)
        core = block.core.relative_to(block.read.start)
        probability[:] = patch[core.slices] * 2

    def segment(self, patch: np.ndarray) -> np.ndarray:
        raise AssertionError("the stream hands out whole blocks")

    def close(self) -> None: ...


class Volume:
    def __init__(self, voxels: np.ndarray) -> None:
        self.voxels = voxels

    def read(self, region: object) -> np.ndarray:
        return self.voxels[region.slices].copy()


class Bench:
    """A run in memory that records how many blocks were open at once."""

    def __init__(self, shape: tuple[int, int, int] = (5, 37, 29)) -> None:
        self.footprint = Footprint(4, 8, 1)
        self.voxels = np.random.default_rng(0).integers(0, 128, shape, dtype=np.uint8)
        self.plan: Plan = make_plan(shape, (1, 1, 1), None, self.footprint, tile_px=8, block=(2, 16, 16))
        self.out = np.zeros(shape, np.uint8)
        self.open = self.most_open = self.heard = 0
        self.written: list[int] = []
        self.lock = threading.Lock()

    def read(self, block: Block) -> np.ndarray:
        with self.lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        return read_working(Volume(self.voxels).read, self.plan, block.read)

    def write(self, block: Block, probability: np.ndarray) -> None:
        self.out[block.output.slices] = probability
        with self.lock:
            self.open -= 1
            self.written.append(block.index)

    def done(self, voxels: int) -> None:
        with self.lock:
            self.heard += voxels

    def run(self, threads: Threads, work: Work | None = None, **steps: object) -> Occupancy:
        chosen = Steps(**{"read": self.read, "write": self.write, "done": self.done, **steps})
        work, queues = work or ByTile(Doubling(self.footprint), self.plan), Occupancy()
        run_stream(self.plan, range(len(self.plan)), work, chosen, threads, queues)
        return queues


@pytest.mark.parametrize("threads", [Threads(1, 1, 1, 1), Threads(2, 3, 2, 4), threads_for(2)])
def test_every_block_once_and_no_more_in_memory_than_slots(threads: Threads) -> None:
    bench = Bench()
    bench.run(threads)
    np.testing.assert_array_equal(bench.out, bench.voxels * 2)
    assert sorted(bench.written) == list(range(len(bench.plan)))
    assert bench.most_open <= threads.slots
    assert bench.heard == whole(bench.voxels.shape).size


def test_whole_blocks_come_in_one_piece() -> None:
    bench = Bench()
    engine = DoublingBlocks(bench.footprint)
    bench.run(Threads(2, 3, 2, 4), ByBlock(engine))
    np.testing.assert_array_equal(bench.out, bench.voxels * 2)
    assert sorted(engine.calls) == list(range(len(bench.plan)))
    assert bench.heard == bench.voxels.size


def test_the_queues_are_empty_in_the_end_and_never_fuller_than_the_slots() -> None:
    queues = Bench().run(Threads(2, 2, 1, 3))
    assert set(queues.means()) == {"segment", "write"}
    assert sum(queues.means().values()) <= 3
    assert all(level.now == 0 and 1 <= level.most <= 3 for level in queues._levels.values())


@pytest.mark.parametrize("step", ["read", "write", "done"])
def test_the_first_error_stops_everything_and_comes_out(step: str) -> None:
    bench = Bench()

    def fails(*_: object) -> None:
        raise ValueError(f"{step} failed")

    before = threading.active_count()
    with pytest.raises(ValueError, match=f"{step} failed"):
        bench.run(Threads(2, 2, 2, 3), **{step: fails})
    assert threading.active_count() == before
    assert len(bench.written) < len(bench.plan)


def test_an_interrupt_lets_a_write_finish() -> None:
    bench, before = Bench(), threading.active_count()
    finished: list[int] = []

    def slow_write(block: Block, probability: np.ndarray) -> None:
        interrupt_main()
        time.sleep(0.3)
        finished.append(block.index)

    with pytest.raises(KeyboardInterrupt):
        bench.run(Threads(1, 2, 1, 2), write=slow_write)
    assert len(finished) == 1
    assert threading.active_count() == before


def test_an_interrupt_waits_for_the_next_index_only_once_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, before, told = Bench(), threading.active_count(), threading.Event()
    in_time: list[bool] = []
    fail = _Stream.fail

    def telling(stream: _Stream, error: BaseException) -> None:
        fail(stream, error)
        told.set()

    def indices() -> Iterator[int]:
        yield 0
        interrupt_main()
        in_time.append(told.wait(5))  # as live mode decodes a slice here
        interrupt_main()  # of somebody who does not like to wait
        time.sleep(0.3)
        in_time.append(True)
        yield 1

    monkeypatch.setattr(_Stream, "fail", telling)
    steps = Steps(bench.read, bench.write, bench.done)
    work = ByTile(Doubling(bench.footprint), bench.plan)
    with pytest.raises(KeyboardInterrupt):
        run_stream(bench.plan, indices(), work, steps, Threads(2, 1, 1, 4), Occupancy())
    assert in_time == [True, True]
    assert threading.active_count() == before


def test_a_second_interrupt_while_the_first_is_told_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, before, told = Bench(), threading.active_count(), threading.Event()
    finished: list[int] = []
    fail, second = _Stream.fail, [KeyboardInterrupt]

    def slow_write(block: Block, probability: np.ndarray) -> None:
        interrupt_main()
        told.wait(5)
        time.sleep(0.1)
        finished.append(block.index)

    def interrupted(stream: _Stream, error: BaseException) -> None:
        if second:
            raise second.pop()
        fail(stream, error)
        told.set()

    monkeypatch.setattr(_Stream, "fail", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(Threads(1, 1, 1, 2), write=slow_write)
    assert len(finished) == 1
    assert threading.active_count() == before


def test_a_thread_that_cannot_be_started_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, before, started = Bench(), threading.active_count(), []
    start = threading.Thread.start

    def starts_twice(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starts_twice)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        bench.run(Threads(1, 1, 1, 2))
    assert threading.active_count() == before
