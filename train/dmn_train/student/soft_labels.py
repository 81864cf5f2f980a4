"""The loss of a student on a teacher's probabilities."""

import torch
from torch import Tensor

from dmn_train.boundary import boundary_weights
from dmn_train.losses import bce, soft_dice
from dmn_train.pseudo_labels import DECISION
from dmn_train.sections import DistilSection


def soft_label_loss(logits: Tensor, labels: Tensor, section: DistilSection) -> dict[str, Tensor]:
    """Return "soft", the cross-entropy plus the weighted 1 - Dice, and both terms before their weights.

    The cross-entropy is the weighted mean over pixels of -(t log p + (1 - t) log(1 - p)), t being the
    teacher's probability at temperature 1: what it is unsure of, the student may be unsure of. Weights rise
    towards the outline of the teacher's mask, where masks of two networks differ.

    Args:
        logits: n1hw float32.
        labels: n1hw float32, 0 to 1.
        section: weights.
    """
    everywhere = torch.ones_like(labels)
    weights = everywhere
    if section.boundary_weight > 0.0:
        mask = (labels >= DECISION).float()
        weights = boundary_weights(mask, section.boundary_weight, section.boundary_px)
    terms = {"soft_cross_entropy": bce(logits, labels, weights)}
    total = terms["soft_cross_entropy"]
    if section.dice > 0.0:
        terms["soft_dice"] = soft_dice(logits, labels, everywhere)
        total = total + section.dice * terms["soft_dice"]
    return {"soft": total, **terms}


def mask_iou(one: Tensor, two: Tensor) -> Tensor:
    """Return the IoU of what two maps of probabilities call foreground; 1 where neither calls any so."""
    return iou_of_masks(one >= DECISION, two >= DECISION)


def iou_of_masks(one: Tensor, two: Tensor) -> Tensor:
    """Return the IoU of two boolean masks of one shape; 1 where neither holds anything."""
    union = (one | two).sum()
    return torch.where(union > 0, (one & two).sum() / union.clamp(min=1), 1.0)
