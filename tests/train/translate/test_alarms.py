"""The alarms: a sentence from a bound on, and none on its other side."""

import pytest
import torch

from dmn_train.translate.alarms import (
    consistency_alarm,
    gate_alarm,
    invention_alarm,
    mask_dice,
    negatives_alarm,
)


@pytest.mark.parametrize(("mean", "rings"), [(0.0, True), (0.049, True), (0.05, False), (0.4, False)])
def test_a_closed_gate(mean: float, rings: bool) -> None:
    assert (gate_alarm(mean) is not None) == rings


@pytest.mark.parametrize(("found", "rings"), [(0.0, False), (0.75, False), (0.76, True), (1.0, True)])
def test_nothing_left_in_place(found: float, rings: bool) -> None:
    sentence = consistency_alarm(found)
    assert (sentence is not None) == rings
    assert sentence is None or f"{found:.2f} times as unlike themselves" in sentence


def test_the_sentence_holds_the_numbers() -> None:
    sentence = gate_alarm(0.0123)
    assert sentence is not None
    assert "mean 0.012, it should be 0.05 or more" in sentence


@pytest.mark.parametrize(("dice", "rings"), [(0.3, True), (0.79, True), (0.8, False), (1.0, False)])
def test_invented_objects(dice: float, rings: bool) -> None:
    assert (invention_alarm(dice) is not None) == rings
    assert invention_alarm(0.3, least=0.25) is None
    sentence = invention_alarm(0.3)
    assert sentence is not None
    assert "Dice 0.30" in sentence


@pytest.mark.parametrize(("share", "rings"), [(0.0, True), (0.049, True), (0.05, False)])
def test_a_contrast_without_negatives(share: float, rings: bool) -> None:
    assert (negatives_alarm(share) is not None) == rings


def test_mask_dice_is_the_dice_at_a_half_by_hand() -> None:
    before = torch.tensor([[[[3.0, 0.1, -1.0, 2.0]]]])
    after = torch.tensor([[[[0.2, -0.1, 1.0, 9.0]]]])
    assert mask_dice(before, after) == pytest.approx(2 * 2 / (3 + 3))
    assert mask_dice(before, before) == 1.0
    assert mask_dice(-torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)) == 1.0
    assert mask_dice(before, -torch.ones(1, 1, 1, 4)) == 0.0
