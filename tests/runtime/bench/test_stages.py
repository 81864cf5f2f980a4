"""Which stage holds up the others."""

from collections.abc import Callable

import pytest

from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.rounds import EndToEnd, Round
from dmn_runtime.bench.stages import limit_of, stages_of
from dmn_runtime.stream import threads_for


def run(**busy_s: float) -> EndToEnd:
    return EndToEnd(1, 10.0, 0.1, busy_s, {})


def test_the_share_is_of_the_threads_that_do_it(bench_round: Callable[..., Round]) -> None:
    stages = {one.name: one for one in stages_of([bench_round().end_to_end], threads_for(2))}
    assert list(stages) == ["read", "resample", "gather", "network", "scatter", "assemble", "write"]
    assert (stages["network"].kind, stages["network"].threads) == ("worker", 2)
    assert stages["network"].busy_s == Figure(6.0, 6.0, 6.0)
    assert stages["network"].percent_of_threads.median == 75.0
    assert stages["write"].percent_of_threads.median == 25.0


@pytest.mark.parametrize(
    ("busy_s", "limit"),
    [
        ({"read": 1.0, "network": 19.0, "write": 9.0}, "network"),
        ({"read": 1.0, "network": 19.0, "write": 9.6}, "write"),
        ({"read": 4.0, "resample": 5.7, "network": 19.0, "write": 1.0}, "resample"),
        ({"read": 6.0, "resample": 3.7, "network": 19.0, "write": 1.0}, "read"),
        ({"read": 1.0, "stage": 2.0, "device": 15.0, "assemble": 1.0, "write": 2.0}, "device"),
    ],
)
def test_the_limit_is_the_longest_stage_of_the_busiest_threads(busy_s: dict[str, float], limit: str) -> None:
    assert limit_of(stages_of([run(**busy_s)], threads_for(2))).name == limit


def test_a_stage_that_some_run_lacked_is_left_out() -> None:
    assert [one.name for one in stages_of([run(read=1.0), run(read=1.0, write=1.0)], threads_for(1))] == [
        "read"
    ]
