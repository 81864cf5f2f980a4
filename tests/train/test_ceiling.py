"""The ceiling of the foreground against numbers worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dmn_train.ceiling import MEMORY_STEPS, ForegroundCeiling


def views(*probabilities: float, copies: int = 1) -> Tensor:
    return torch.tensor(probabilities).reshape(1, 1, 1, 1, -1).repeat(copies, 1, 1, 1, 1)


def test_what_lies_below_the_ceiling_stays_as_it_is_to_the_bit() -> None:
    seen = views(0.9, 0.6, 0.4, 0.1)
    assert ForegroundCeiling(0.5).corrected(seen) is seen


def test_the_odds_are_divided_so_that_the_surest_stay_foreground() -> None:
    """Logits 2.197, 0.847, 0.405, -0.405; one of four may stay, and the steps are 0.05."""
    ceiling = ForegroundCeiling(0.25)
    found = ceiling.corrected(views(0.9, 0.7, 0.6, 0.4, copies=2))
    assert ceiling.shift() == pytest.approx(0.85)
    odds = torch.tensor([9.0, 7 / 3, 1.5, 2 / 3]) / torch.tensor(0.85).exp()
    torch.testing.assert_close(found[0].flatten(), odds / (1.0 + odds))
    assert (found >= 0.5).flatten().tolist() == [True, False, False, False] * 2


def test_batches_are_judged_together() -> None:
    """Half of the first batch and none of the next is a quarter of both."""
    ceiling = ForegroundCeiling(0.25)
    ceiling.corrected(views(0.9, 0.9, 0.1, 0.1))
    assert ceiling.shift() > 2.19
    ceiling.corrected(views(0.1, 0.1, 0.1, 0.1))
    assert ceiling.shift() == 0.0


def test_the_alarm_is_on_what_was_found_and_not_on_what_is_left() -> None:
    ceiling = ForegroundCeiling(0.25)
    left = ceiling.corrected(views(0.9, 0.8, 0.7, 0.1))
    assert float((left >= 0.5).float().mean()) == 0.25
    assert ceiling.found() == pytest.approx(0.75)
    assert ceiling.alarms(0.16) == ()
    (alarm,) = ceiling.alarms(0.14)
    assert "in 75.00% of the target's pixels" in alarm


def test_old_batches_are_forgotten() -> None:
    ceiling = ForegroundCeiling(0.25)
    for _ in range(MEMORY_STEPS):
        ceiling.corrected(views(0.1, 0.1))
    for _ in range(2 * MEMORY_STEPS):
        ceiling.corrected(views(0.9, 0.1))
    assert ceiling.shift() > 2.19


def test_no_gradient_passes_it_and_certainty_has_a_logit() -> None:
    seen = views(1.0, 1.0, 0.0).requires_grad_(True)
    found = ForegroundCeiling(0.1).corrected(seen)
    assert not found.requires_grad
    assert bool(found.isfinite().all())
    assert float(found.max()) == pytest.approx(0.5)  # nothing is surer than the limit


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=80), st.floats(0.05, 0.95))
def test_the_order_stays_and_the_share_holds(probabilities: list[float], most: float) -> None:
    seen = views(*probabilities)
    found = ForegroundCeiling(most).corrected(seen).flatten()
    order = seen.flatten().argsort()
    assert bool((found[order].diff() >= 0.0).all())
    stays = bool((found == seen.flatten()).all())
    assert stays or float((found > 0.5).float().mean()) <= most + 1e-6
