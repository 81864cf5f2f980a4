"""The alarm of a bank that tells nothing apart."""

import pytest
import torch

from dmn_train.memory.alarms import collapse_alarm, mean_cosine
from dmn_train.memory.prototypes import Prototypes


def test_the_mean_is_over_pairs_of_filled_slots() -> None:
    held = Prototypes(
        torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.0, 0.0]]]),
        torch.tensor([[True, True], [True, False]]),
    )
    assert float(mean_cosine(held)) == pytest.approx((0.6 + 0.0 + 0.8) / 3)


def test_one_slot_is_like_no_other() -> None:
    held = Prototypes(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([[True], [False]]))
    assert float(mean_cosine(held)) == 0.0


def test_the_alarm_tells_the_mean() -> None:
    assert collapse_alarm(0.95) is None
    sentence = collapse_alarm(0.961)
    assert sentence is not None
    assert "mean cosine of 0.961 (the alarm is at 0.95)" in sentence
