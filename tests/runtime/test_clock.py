"""Stages add up over threads; queues are means over time."""

import pytest

from dmn_runtime.clock import Clock, Occupancy


def test_the_clock_adds_up_stages_over_threads() -> None:
    clock = Clock()
    with clock.stage("a"):
        pass
    with clock.stage("a"), clock.stage("b"):
        pass
    clock.add("c", 1.5)
    clock.add("c", 0.25)
    assert set(clock.busy_s) == {"a", "b", "c"}
    assert clock.busy_s["c"] == 1.75
    assert all(seconds >= 0 for seconds in clock.busy_s.values())


def test_a_queue_is_as_full_as_it_was_on_average() -> None:
    now_s = iter([10.0, 10.0, 12.0, 14.0, 18.0, 20.0])
    queues = Occupancy(lambda: next(now_s))
    queues.change("segment", +1)  # 1 from 10 to 12
    queues.change("write", +1)  # 1 from 10 to 18
    queues.change("segment", +2)  # 3 from 12 to 14
    queues.change("segment", -3)  # 0 from then on
    queues.change("write", -1)
    assert queues.means() == pytest.approx({"segment": (2 + 6) / 10, "write": 8 / 10})


def test_nothing_has_happened_yet() -> None:
    assert Occupancy().means() == {}
