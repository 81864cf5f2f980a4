"""The lag meter: counters to text, literally."""

import pytest

from dmn_runtime.live.lag import LagCounter, Progress, meter_line, verdict
from dmn_runtime.live.meter import Lines


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (
            Progress(0, 0, None, None, None, 10_000_000),
            "0 slices arrived, 0 segmented; lag 0 slices; acquisition not known yet; "
            "segmentation not known yet; rates not known yet",
        ),
        (
            Progress(142, 136, 41.4, 0.15, 0.9, 10_000_000, until=2000),
            "142 of 2000 slices arrived, 136 segmented; lag 6 slices, 41 s; "
            "acquisition 0.15 slices/s (1.5 Mvoxel/s); segmentation 0.9 slices/s (9 Mvoxel/s); keeps up",
        ),
        (
            Progress(30, 20, 7200.0, 0.2, 0.1, 1_000_000, until=50, waits_for="slice 31"),
            "30 of 50 slices arrived, 20 segmented; lag 10 slices, 2.0 h; "
            "acquisition 0.2 slices/s (0.2 Mvoxel/s); segmentation 0.1 slices/s (0.1 Mvoxel/s); "
            "falls behind by 360 slices an hour; catches up in 3 min after the end; waits for slice 31",
        ),
        (
            Progress(30, 20, 100.0, 0.2, 0.1, 1_000_000),
            "30 slices arrived, 20 segmented; lag 10 slices, 2 min; "
            "acquisition 0.2 slices/s (0.2 Mvoxel/s); segmentation 0.1 slices/s (0.1 Mvoxel/s); "
            "falls behind by 360 slices an hour; would catch up in 2 min if it ended now",
        ),
    ],
)
def test_a_line(progress: Progress, line: str) -> None:
    assert meter_line(progress) == line


def test_equal_rates_keep_up() -> None:
    assert verdict(Progress(3, 1, 1.0, 0.5, 0.5, 1)) == "keeps up"


def test_rates_are_those_of_arrivals_that_were_seen_and_of_time_at_work() -> None:
    lag = LagCounter()
    for z in range(3):
        lag.arrived(z, 0.0, backlog=True)
    assert lag.acquired_per_s() is None
    for z, now_s in ((3, 10.0), (4, 14.0), (5, 18.0)):
        lag.arrived(z, now_s, backlog=False)
    assert lag.acquired_per_s() == 0.25
    assert lag.segmented_per_s(18.0) is None
    lag.begin_work(20.0)
    for z in range(3):
        lag.finished(z, 22.0, worked=True)
    assert lag.segmented_per_s(23.0) == 1.0
    lag.end_work(24.0)
    assert lag.segmented_per_s(99.0) == 0.75
    assert lag.lag_s == 22.0
    lag.finished(5, 30.0, worked=True)
    lag.finished(4, 31.0, worked=True)
    assert lag.lag_s == 12.0  # of the newest
    lag.finished(5, 40.0, worked=True)  # context of a slab that was made again
    assert lag.segmented_per_s(99.0) == 5 / 4


def test_what_an_earlier_run_had_done_is_no_speed_of_this_one() -> None:
    lag = LagCounter()
    lag.arrived(0, 0.0, backlog=True)
    lag.finished(0, 1.0, worked=False)
    lag.begin_work(1.0)
    assert lag.segmented_per_s(2.0) is None
    assert lag.lag_s is None


def test_old_arrivals_do_not_slow_the_rate() -> None:
    lag = LagCounter()
    lag.arrived(0, 0.0, backlog=False)
    for z in range(1, 33):
        lag.arrived(z, 1000.0 + z, backlog=False)
    assert lag.acquired_per_s() == 1.0


def test_lines_come_when_they_are_due_and_new() -> None:
    now, written = [0.0], []
    lines = Lines(written.append, lambda: now[0], 5.0)
    for now_s, line in [(0, "a"), (1, "b"), (5, "b"), (11, "b"), (12, "c"), (13, "d")]:
        now[0] = now_s
        lines.show(line)
    assert written == ["a", "b", "c"]
