"""Threads over work, with a clock that only these tests move."""

import threading
from itertools import count

import pytest

from dmn_runtime.bench.clocked import rate_of, seconds_for_all
from dmn_runtime.bench.rounds import Rate


def test_every_item_is_done_once_and_the_time_is_that_between() -> None:
    ticks, lock, done = iter([10.0, 14.0]), threading.Lock(), []

    def work(item: int) -> None:
        with lock:
            done.append(item)

    assert seconds_for_all(range(20), work, 3, lambda: next(ticks)) == 4.0
    assert sorted(done) == list(range(20))


def test_an_error_comes_out() -> None:
    def work(item: int) -> None:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item"):
        seconds_for_all(range(4), work, 2)


def test_a_rate_is_what_the_calls_moved_by_the_time_they_took() -> None:
    # begin at 0; the worker looks after each call: 1, 2 (the window's end); the end is seen at 4.
    ticks = iter([0.0, 1.0, 2.0, 4.0])
    assert rate_of([lambda: (10, 100), lambda: (2, 6)], 1, 2.0, lambda: next(ticks)) == Rate(3.0, 26.5)


def test_every_thread_makes_one_call_and_begins_at_another() -> None:
    lock, called = threading.Lock(), []

    def call(name: str) -> tuple[int, int]:
        with lock:
            called.append(name)
        return 1, 1

    clock = count(0.0, 1.0)
    rate_of([lambda: call("a"), lambda: call("b"), lambda: call("c")], 3, 0.0, lambda: next(clock))
    assert sorted(called) == ["a", "b", "c"]
