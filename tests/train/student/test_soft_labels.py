"""The loss on soft labels by hand, and the IoU of two masks."""

from math import log

import pytest
import torch

from dmn_train.sections import DistilSection
from dmn_train.student.soft_labels import mask_iou, soft_label_loss


def section(**keys: object) -> DistilSection:
    return DistilSection(teacher="t", **{"dice": 0.0, "boundary_weight": 0.0, **keys})  # type: ignore[arg-type]


def test_the_cross_entropy_is_that_of_the_probability() -> None:
    logits = torch.tensor([[[[0.0, log(3.0)]]]])  # 1/2 and 3/4
    labels = torch.tensor([[[[0.25, 0.75]]]])
    terms = soft_label_loss(logits, labels, section())
    expected = (log(2.0) + 0.75 * log(4 / 3) + 0.25 * log(4.0)) / 2
    assert float(terms["soft"]) == pytest.approx(expected)
    assert "soft_dice" not in terms


def test_dice_is_added_by_its_weight() -> None:
    logits, labels = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 1.0]]]])
    terms = soft_label_loss(logits, labels, section(dice=0.5))
    assert float(terms["soft_dice"]) == pytest.approx(1 - 2 / 3)  # (2 * 0.5 + 1) / (1 + 1 + 1)
    assert float(terms["soft"]) == pytest.approx(log(2.0) + 0.5 * (1 - 2 / 3))


def test_pixels_at_the_outline_of_the_teachers_mask_count_more() -> None:
    labels = torch.zeros(1, 1, 16, 16)
    labels[..., 8:] = 0.9
    wrong_at_outline, wrong_elsewhere = torch.full_like(labels, -9.0), torch.full_like(labels, -9.0)
    wrong_at_outline[..., 8:] = wrong_elsewhere[..., 8:] = 9.0
    wrong_at_outline[..., 7] = 9.0
    wrong_elsewhere[..., 0] = 9.0
    weighted = section(boundary_weight=1.0)
    near, far = (
        float(soft_label_loss(x, labels, weighted)["soft"]) for x in (wrong_at_outline, wrong_elsewhere)
    )
    assert near > 1.2 * far
    near, far = (
        float(soft_label_loss(x, labels, section())["soft"]) for x in (wrong_at_outline, wrong_elsewhere)
    )
    assert near == pytest.approx(far)


def test_iou_of_two_masks() -> None:
    one, two = torch.tensor([0.9, 0.5, 0.1, 0.2]), torch.tensor([0.6, 0.4, 0.7, 0.2])
    assert float(mask_iou(one, two)) == pytest.approx(1 / 3)
    assert float(mask_iou(torch.zeros(3), torch.zeros(3))) == 1.0
