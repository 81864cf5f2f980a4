"""Segmentation losses over the labelled pixels of a batch.

All take logits, truth (0 or 1) and valid (1 where labelled, else 0), n1hw float32, and return a scalar.
"""

from torch import Tensor
from torch.nn import functional

DICE_SMOOTH = 1.0  # keeps a batch without foreground at a loss near 0 where nothing is predicted


def bce(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the valid pixels; 0 where there is none."""
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (each * valid).sum() / valid.sum().clamp(min=1.0)


def soft_dice(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - Dice of the foreground over the valid pixels of the whole batch.

    Milletari et al., V-Net, 3DV 2016, with plain sums in the denominator:
    1 - (2 sum p t + s) / (sum p + sum t + s).
    """
    share = logits.sigmoid() * valid
    truth = truth * valid
    overlap = (share * truth).sum()
    return 1.0 - (2.0 * overlap + DICE_SMOOTH) / (share.sum() + truth.sum() + DICE_SMOOTH)
