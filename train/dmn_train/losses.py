"""Segmentation losses over the labelled pixels of a batch.

All take logits, truth (0 or 1) and valid (1 where labelled, else 0), n1hw float32, and return scalars.
Where a parameter is called weights, it is valid with what a pixel counts: any value >= 0, n1hw float32.
Nothing labelled is a loss of 0 with gradients of 0.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.boundary import boundary_weights
from dmn_train.sections import LossSection

DICE_SMOOTH = 1.0  # keeps a batch without foreground at a loss near 0 where nothing is predicted
LEAST_SUM = 1e-12  # divides the sum of no pixels


def segmentation_loss(
    logits: Tensor, truth: Tensor, valid: Tensor, section: LossSection
) -> dict[str, Tensor]:
    """Return the loss that a recipe asks for, as "segmentation", and beside it each term in use.

    The terms are "cross_entropy", "focal", "dice" and "tversky", before their weights; one of weight 0 is
    not computed and has no key.
    """
    terms: dict[str, Tensor] = {}
    if section.cross_entropy or section.focal:
        weights = pixel_weights(truth, valid, section)
        if section.cross_entropy:
            terms["cross_entropy"] = bce(logits, truth, weights)
        if section.focal:
            terms["focal"] = focal(logits, truth, weights, section.focal_gamma)
    if section.dice:
        terms["dice"] = soft_dice(logits, truth, valid)
    if section.tversky:
        shares = (section.tversky_false_positive, section.tversky_false_negative)
        terms["tversky"] = tversky(logits, truth, valid, *shares)
    total = sum((getattr(section, name) * value for name, value in terms.items()), start=logits.new_zeros(()))
    return {"segmentation": total, **terms}


def pixel_weights(truth: Tensor, valid: Tensor, section: LossSection) -> Tensor:
    """Return what each pixel counts in cross-entropy and focal loss: its class times its place; n1hw."""
    weights = valid * (1.0 + (section.foreground_weight - 1.0) * truth)
    if section.boundary_weight:
        weights = weights * boundary_weights(truth, section.boundary_weight, section.boundary_px, valid)
    return weights


def bce(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of the pixels' binary cross-entropy.

    Divided by the sum of the weights, not by the count of pixels: weights shift what the term looks at and
    leave its scale beside the other terms as it is.
    """
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _mean(each, weights)


def focal(logits: Tensor, truth: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Return the weighted mean of (1 - p) ** gamma * cross-entropy, p the probability of the true class.

    Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5. Their alpha : 1 - alpha of the
    classes is in the weights; they divide by the count of objects, which pixels do not have.
    """
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # A power of 1 - p has no finite gradient at p = 1 where gamma < 1; the exponential of its logarithm has.
    log_error = functional.logsigmoid(logits * (1.0 - 2.0 * truth))
    return _mean(torch.exp(gamma * log_error) * each, weights)


def soft_dice(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - Dice of the foreground over the valid pixels of the whole batch.

    Milletari et al., V-Net, 3DV 2016, with plain sums in the denominator:
    1 - (2 sum p t + s) / (sum p + sum t + s).
    """
    share = logits.sigmoid() * valid
    truth = truth * valid
    overlap = (share * truth).sum()
    return 1.0 - (2.0 * overlap + DICE_SMOOTH) / (share.sum() + truth.sum() + DICE_SMOOTH)


def tversky(
    logits: Tensor, truth: Tensor, valid: Tensor, false_positive: float, false_negative: float
) -> Tensor:
    """Return 1 - Tversky index of the foreground over the valid pixels of the whole batch.

    Salehi et al., Tversky loss function for image segmentation, MLMI 2017, equation 3:
    1 - (TP + s) / (TP + alpha FP + beta FN + s), where TP = sum p t, FP = sum p (1 - t), FN = sum (1 - p) t.
    With s = DICE_SMOOTH / 2, alpha = beta = 0.5 is `soft_dice`.

    Args:
        logits: n1hw float32.
        truth: n1hw float32.
        valid: n1hw float32.
        false_positive: alpha.
        false_negative: beta.
    """
    share = logits.sigmoid() * valid
    truth = truth * valid
    hit = (share * truth).sum()
    wrong = false_positive * (share.sum() - hit) + false_negative * (truth.sum() - hit)
    return 1.0 - (hit + DICE_SMOOTH / 2) / (hit + wrong + DICE_SMOOTH / 2)


def _mean(each: Tensor, weights: Tensor) -> Tensor:
    return (each * weights).sum() / weights.sum().clamp(min=LEAST_SUM)
