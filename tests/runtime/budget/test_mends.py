"""What would mend a lag: ordered, and only what is not there already."""

from dataclasses import replace

import pytest

from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.stages import KIND_OF
from dmn_runtime.budget.mends import LIMIT_WORDS, Situation, mends
from dmn_runtime.budget.rates import Acquisition
from dmn_runtime.budget.verdict import Speed, verdict

SPEED = Speed(Figure(2e6, 2e6, 2e6))
FAST = verdict(Acquisition("a fast one", 5e6), SPEED)
SLOW = verdict(Acquisition("a slow one", 1e6), SPEED)
SITUATION = Situation(
    limit="network",
    on_gpu=False,
    asked_engine="auto",
    asked_precision="auto",
    precision="fp32",
    held=("fp32", "int8"),
    has_openvino=True,
    workers=2,
    cores=2,
    gpus=(),
)
STUDENT = "a smaller student, with fewer base channels: dmn train, dmn export, and measure it"
CORES = "more cores like the 2 cores that worked, if it scales: 5 for a fast one"
GPU = "a GPU: none answers here, so what it would do was not measured"


def test_nothing_is_to_be_mended_where_all_keeps_up() -> None:
    unsaid = verdict(Acquisition("a near one", 2.1e6), Speed(SPEED.measured, 2.2e6))
    assert unsaid.keeps_up is None
    assert mends(SITUATION, [SLOW, unsaid]) == ()


def test_only_what_was_not_done_is_advised() -> None:
    assert mends(SITUATION, [SLOW, FAST]) == (STUDENT, CORES, GPU)


def test_the_cheapest_comes_first() -> None:
    narrow = replace(
        SITUATION,
        workers=1,
        asked_engine="cpu",
        asked_precision="fp32",
        has_openvino=False,
        gpus=("A GPU",),
    )
    idle, asked, openvino, student, cores, gpu = mends(narrow, [FAST])
    assert idle == "--workers 2: 1 of 2 cores worked"
    assert asked == (
        "leave out --engine cpu and --precision fp32: the fastest that passes the package's certificate here "
        "runs; int8, which the package holds, is then in question"
    )
    assert openvino.startswith("pip install 'dmn-em[openvino]'")
    assert student == STUDENT
    assert cores == "more cores like the 1 core that worked, if it scales: 3 for a fast one"
    assert gpu == "the GPU here (A GPU) did not work: dmn doctor says what is missing"


@pytest.mark.parametrize(
    "changes",
    [{"precision": "int8", "asked_precision": "int8"}, {"held": ("fp32",), "asked_precision": "fp32"}],
)
def test_int8_is_named_only_where_the_package_holds_it_unused(changes: dict[str, object]) -> None:
    assert not any("which the package holds" in one for one in mends(replace(SITUATION, **changes), [FAST]))


def test_on_a_gpu_nothing_is_said_of_processors() -> None:
    found = mends(replace(SITUATION, limit="device", on_gpu=True, has_openvino=False), [FAST])
    assert found == (STUDENT, "a faster GPU")


@pytest.mark.parametrize("limit", ["read", "resample", "assemble", "write"])
def test_what_is_not_done_by_the_workers_is_not_mended_by_them(limit: str) -> None:
    _, last = mends(replace(SITUATION, limit=limit), [FAST])
    assert last == f"a faster network would not mend it: the workers wait for {LIMIT_WORDS[limit]}"


def test_every_stage_has_words() -> None:
    assert list(LIMIT_WORDS) == list(KIND_OF)
