"""Timing of work that several threads do side by side."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TypeVar

from dmn_runtime.bench.rounds import Rate

Seconds = Callable[[], float]
_Item = TypeVar("_Item")


def seconds_for_all(
    items: Sequence[_Item], work: Callable[[_Item], object], workers: int, seconds: Seconds = perf_counter
) -> float:
    """Return how long `workers` threads take for all items, each taking the next one that is left.

    Raises:
        Exception: the first that `work` raised, once all threads have ended.
    """
    todo: SimpleQueue[_Item] = SimpleQueue()
    for item in items:
        todo.put(item)

    def drain(_: int) -> None:
        while True:
            try:
                item = todo.get_nowait()
            except Empty:
                return
            work(item)

    with _started(workers) as pool:
        begin = seconds()
        list(pool.map(drain, range(workers)))
        return seconds() - begin


def rate_of(
    calls: Sequence[Callable[[], tuple[int, int]]],
    workers: int,
    window_s: float,
    seconds: Seconds = perf_counter,
) -> Rate:
    """Return the speed of calls that return (pixels, bytes), `workers` threads going round them.

    Every thread makes one call at least, begins none after `window_s`, and starts at another one than its
    neighbours.
    """

    def turn(worker: int, end: float) -> tuple[int, int]:
        px = moved = 0
        for at in count(worker):
            more = calls[at % len(calls)]()
            px, moved = px + more[0], moved + more[1]
            if seconds() >= end:
                break
        return px, moved

    with _started(workers) as pool:
        begin = seconds()
        done = list(pool.map(lambda worker: turn(worker, begin + window_s), range(workers)))
        spent = seconds() - begin
    return Rate(sum(px for px, _ in done) / spent, sum(moved for _, moved in done) / spent)


@contextmanager
def _started(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Offer a pool whose threads all run already: starting them is not part of what is timed."""
    everyone = threading.Barrier(workers)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: everyone.wait(), range(workers)))
        yield pool
