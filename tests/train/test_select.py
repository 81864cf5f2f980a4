"""Which weights are kept, from the validations so far."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_train.select import Decision, Measured, Rule, Scored, Selector, score

RISING_THEN_FALLING = [Scored(100, 0.2), Scored(200, 0.6), Scored(300, 0.5), Scored(400, 0.1)]
ALL = Measured(held_out_iou=0.7, solidity=0.8, source_solidity=0.95, entropy=0.3)


@pytest.mark.parametrize(
    ("rule", "expected"), [("last", 40.0), ("held_out", 0.7), ("solidity", -0.15), ("entropy", -0.3)]
)
def test_scores(rule: Rule, expected: float) -> None:
    made = score(rule, 40, ALL)
    assert made.step == 40
    assert made.score == pytest.approx(expected)


def test_solidity_may_be_missed_either_way() -> None:
    above, below = (score("solidity", 1, Measured(solidity=s, source_solidity=0.5)) for s in (0.75, 0.25))
    assert above == below == (1, -0.25)


def test_what_was_not_measured_has_no_score() -> None:
    assert score("last", 3, Measured()) == (3, 3.0)
    for rule in ("held_out", "solidity", "entropy"):
        assert score(rule, 3, Measured()) == (3, None)
    assert score("solidity", 3, Measured(source_solidity=0.9)) == (3, None)
    assert score("entropy", 3, Measured(entropy=float("nan"))) == (3, None)


def test_the_best_is_kept() -> None:
    assert Selector("held_out").decide(RISING_THEN_FALLING) == Decision(
        best=200, kept=(200,), remaining=(), ends=False
    )


def test_as_many_as_wanted_are_kept_best_first() -> None:
    decision = Selector("held_out", keep=3).decide(RISING_THEN_FALLING)
    assert (decision.kept, decision.remaining) == ((200, 300, 100), (200, 300, 100))
    assert Selector("held_out", keep=9).decide(RISING_THEN_FALLING).kept == (200, 300, 100, 400)


def test_last_needs_no_snapshot() -> None:
    validations = [score("last", step, ALL) for step in (100, 200, 300)]
    assert Selector("last").decide(validations) == Decision(300, (), (), ends=False)
    assert Selector("last", keep=2).decide(validations).kept == (300, 200)


def test_before_the_first_validation() -> None:
    assert Selector("entropy", keep=2, patience=1).decide([]) == Decision(None, (), (), ends=False)


def test_ties_go_to_the_later_step() -> None:
    validations = [Scored(100, 0.5), Scored(200, 0.5), Scored(300, 0.4)]
    assert Selector("held_out", keep=2).decide(validations).kept == (200, 100)


def test_no_score_is_the_worst() -> None:
    validations = [Scored(100, None), Scored(200, -0.9), Scored(300, None)]
    assert Selector("solidity", keep=2).decide(validations).kept == (200, 300)
    assert Selector("solidity").decide(validations[::2]).best == 300


@pytest.mark.parametrize(("patience", "ends"), [(0, False), (1, True), (2, True), (3, False)])
def test_patience(patience: int, ends: bool) -> None:
    assert Selector("held_out", patience=patience).decide(RISING_THEN_FALLING).ends is ends


def test_a_tie_is_no_better_score() -> None:
    assert Selector("held_out", patience=1).decide([Scored(1, 0.5), Scored(2, 0.5)]).ends


def test_patience_waits_for_the_first_score() -> None:
    nothing = [Scored(step, None) for step in range(5)]
    selector = Selector("solidity", patience=2)
    assert not selector.decide(nothing).ends
    assert not selector.decide([*nothing, Scored(5, -0.5), Scored(6, None)]).ends
    assert selector.decide([*nothing, Scored(5, -0.5), Scored(6, None), Scored(7, -0.5)]).ends


scores = st.none() | st.floats(-1, 1)


@given(st.lists(scores, max_size=8), st.integers(0, 4), st.integers(0, 3))
def test_a_resumed_run_decides_alike(values: list[float | None], keep: int, patience: int) -> None:
    selector = Selector("entropy", keep=keep, patience=patience)
    validations = [Scored(10 * index, value) for index, value in enumerate(values)]
    stored = [Scored(*pair) for pair in json.loads(json.dumps(validations))]
    assert selector.decide(stored) == selector.decide(validations)


@given(st.lists(scores, min_size=1, max_size=8), st.integers(0, 4))
def test_what_is_wanted_was_never_dropped_before(values: list[float | None], keep: int) -> None:
    selector = Selector("held_out", keep=keep)
    validations = [Scored(10 * index, value) for index, value in enumerate(values)]
    on_disk: set[int] = set()
    for count, one in enumerate(validations, 1):
        decision = selector.decide(validations[:count])
        on_disk |= {one.step}
        assert decision.best in decision.kept
        assert set(decision.kept) <= on_disk
        on_disk &= set(decision.kept)
