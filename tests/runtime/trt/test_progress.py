"""Nested phases as one fraction."""

from dmn_runtime.trt.log import Log
from dmn_runtime.trt.progress import Phases


def test_a_phase_is_a_step_of_its_parent() -> None:
    phases = Phases()
    assert phases.start("all", None, 2).fraction == 0.0
    assert phases.start("first", "all", 4).fraction == 0.0
    assert phases.step("first", 0).fraction == 1 / 8
    assert phases.step("first", 2).fraction == 3 / 8
    assert phases.finish("first").fraction == 1 / 2
    assert phases.step("all", 0).fraction == 1 / 2
    assert phases.start("second", "all", 0).fraction == 1 / 2
    assert phases.finish("all").fraction == 1.0


def test_it_never_falls_and_survives_what_it_does_not_know() -> None:
    phases = Phases()
    phases.start("all", None, 2)
    phases.step("all", 0)
    assert phases.start("all", None, 2).fraction == 1 / 2
    assert phases.step("unheard of", 3).fraction == 1 / 2
    assert phases.finish("unheard of").fraction == 1 / 2


def test_the_log_is_one_line_without_what_follows_every_error() -> None:
    driver = "catchCudaError (cudaError 35: no driver)"
    assert Log().words() == "it gave no reason"
    assert Log(["bad\n  node", driver, "bad node"]).words() == "bad node"
    assert Log([driver]).words() == driver
