"""Learning rates, value by value."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_train.schedule import learning_rate
from dmn_train.sections import OptimiserSection


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.025), (1, 0.05), (3, 0.1), (4, 0.1), (8, 0.0505), (11, 0.0047679)]
)
def test_cosine(step: int, rate: float) -> None:
    got = learning_rate(step, peak=0.1, steps=12, warmup_steps=4, schedule="cosine")
    assert got == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (5, 0.0535887), (9, 0.0125893)])
def test_poly(step: int, rate: float) -> None:
    got = learning_rate(step, peak=0.1, steps=10, warmup_steps=0, schedule="poly")
    assert got == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.05), (1, 0.1), (2, 0.1), (4, 0.1), (5, 0.05), (9, 0.025)])
def test_step(step: int, rate: float) -> None:
    got = learning_rate(
        step, peak=0.1, steps=10, warmup_steps=2, schedule="step", drop=0.5, drop_every_steps=3
    )
    assert got == pytest.approx(rate)


def test_step_drops_as_the_recipe_does_by_default() -> None:
    section = OptimiserSection()
    default = [learning_rate(s, peak=1.0, steps=500, warmup_steps=0, schedule="step") for s in range(500)]
    assert default[99:101] == [1.0, 0.95]
    assert default == [
        learning_rate(
            s, peak=1.0, steps=500, warmup_steps=0, schedule="step",
            drop=section.drop, drop_every_steps=section.drop_every_steps,
        )
        for s in range(500)
    ]  # fmt: skip


@pytest.mark.parametrize(("step", "rate"), [(0, 0.05), (1, 0.1), (2, 0.1), (9, 0.1)])
def test_constant(step: int, rate: float) -> None:
    got = learning_rate(step, peak=0.1, steps=10, warmup_steps=2, schedule="constant")
    assert got == pytest.approx(rate)


@given(
    st.sampled_from(get_args(OptimiserSection.model_fields["schedule"].annotation)),
    st.integers(1, 60),
    st.integers(0, 80),
    st.floats(0.01, 1.0),
    st.integers(1, 70),
)
def test_every_schedule_climbs_to_the_peak_and_never_again(
    schedule: Any, steps: int, warmup: int, drop: float, every: int
) -> None:
    rates = [
        learning_rate(
            s,
            peak=0.1,
            steps=steps,
            warmup_steps=warmup,
            schedule=schedule,
            drop=drop,
            drop_every_steps=every,
        )
        for s in range(steps)
    ]
    assert all(0 < rate <= 0.1 * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_a_warmup_longer_than_the_run_only_climbs() -> None:
    rates = [learning_rate(s, peak=1.0, steps=3, warmup_steps=10, schedule="cosine") for s in range(3)]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
