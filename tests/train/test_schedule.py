"""Learning rates, value by value."""

import pytest

from dmn_train.schedule import learning_rate


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


def test_a_warmup_longer_than_the_run_only_climbs() -> None:
    rates = [learning_rate(s, peak=1.0, steps=3, warmup_steps=10, schedule="cosine") for s in range(3)]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
