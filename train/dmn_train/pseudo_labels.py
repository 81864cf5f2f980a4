"""Labels of the target that a teacher makes up, what each of them counts, and the loss on them."""

from math import ceil, exp
from typing import NamedTuple

import torch
from torch import Tensor

from dmn_train.losses import LEAST_SUM, bce, soft_dice
from dmn_train.sections import PseudoLabelSection

DECISION = 0.5  # probability from which a pixel is foreground
RAMP_STEEPNESS = 5.0
FORWARD_WEIGHT, REVERSE_WEIGHT = 0.1, 1.0  # of symmetric cross-entropy, as in ProDA
UNREACHED = -2.0  # below every probability and below every one turned over
LEAST_LABEL = 1e-4  # its logarithm stands for log 0 in the reverse cross-entropy


class PseudoLabels(NamedTuple):
    """Made-up labels of a batch; nothing here has a gradient.

    Attributes:
        labels: n1hw float32, 0 to 1.
        weights: n1hw float32, 1 where a pixel counts, else 0.
        trust: scalar, 0 to 1: what the loss of the batch counts.
        foreground_share: scalar, share of the pixels that the teacher calls foreground.
        confident_share: scalar, share of the pixels with a probability of at least `high` or at most `low`.
    """

    labels: Tensor
    weights: Tensor
    trust: Tensor
    foreground_share: Tensor
    confident_share: Tensor


def make_pseudo_labels(views: Tensor, section: PseudoLabelSection) -> PseudoLabels:
    """Return labels and weights out of a teacher's probabilities, vn1hw float32, by view.

    The label is the mean over the views, or its side of 0.5. Which pixels count, and how much the batch does:

    share: all pixels; the batch counts as its share of confident pixels (Tranheden et al., DACS, WACV 2021).
    threshold: confident pixels (Sohn et al., FixMatch, NeurIPS 2020).
    quantile: of each class the `keep` most certain pixels (Zou et al., Class-balanced self-training, ECCV
        2018).
    balanced: of the foreground the `keep` most certain pixels, of the background all but as many.

    One threshold for both classes drowns a rare foreground: in a new domain nearly all background passes it
    and most foreground does not, so the student learns that there is less foreground than the teacher sees,
    and the teacher follows. Quantiles leave the teacher's proportion of the classes as it is, but of a rare
    foreground they leave out few uncertain pixels and of the background many times as many: dark things that
    the teacher gives 0.2 never count as background, and nothing keeps them from becoming foreground.
    Balanced, the uncertain zone takes the same area from both.

    Where `agreement` is wanted, no pixel counts that the views put into different classes. But with `share`
    the batch counts as the share of the pixels that do: the mean over them becomes a sum over them divided by
    all pixels, as FixMatch has it, so that few labels make a small loss.
    """
    probability = views.mean(dim=0)
    confident = (probability >= section.high) | (probability <= section.low)
    confident_share = confident.float().mean()
    match section.confidence:
        case "share":
            counts = torch.ones_like(confident)
        case "threshold":
            counts = confident
        case "quantile":
            low, high = class_thresholds(probability, section.keep)
            counts = (probability <= low) | (probability >= high)
        case "balanced":
            low, high = balanced_thresholds(probability, section.keep)
            counts = (probability <= low) | (probability >= high)
    if section.agreement:
        counts = counts & agree(views)
    foreground = (probability >= DECISION).float()
    weights = counts.float()
    return PseudoLabels(
        labels=probability if section.kind == "soft" else foreground,
        weights=weights,
        trust=confident_share if section.confidence == "share" else weights.mean(),
        foreground_share=foreground.mean(),
        confident_share=confident_share,
    )


def class_thresholds(probability: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Return (low, high): at most low, at least high are the `keep` most certain pixels of each class.

    Of n pixels on a side of 0.5 those are ceil(keep n), and those that are as certain as the last of them.
    A side without pixels has a threshold that none reaches.

    Args:
        probability: any shape, float32.
        keep: above 0 and at most 1.
    """
    foreground, background = _sides(probability)
    return _certain(background, ceil(keep * len(background))), -_certain(
        -foreground, ceil(keep * len(foreground))
    )


def balanced_thresholds(probability: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Return (low, high): as many background pixels lie above low as foreground pixels below high.

    The foreground's are what its ceil(keep n) most certain pixels leave; the background's are its least
    certain ones. Pixels that are as certain as the last one that counts do count. A side of which no pixel
    counts has a threshold that none reaches.

    Args:
        probability: any shape, float32.
        keep: above 0 and at most 1.
    """
    foreground, background = _sides(probability)
    kept = ceil(keep * len(foreground))
    left_out = len(foreground) - kept
    return _certain(background, len(background) - left_out), -_certain(-foreground, kept)


def _sides(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of the foreground and those of the background."""
    is_foreground = probability >= DECISION
    return probability[is_foreground], probability[~is_foreground]


def _certain(values: Tensor, count: int) -> Tensor:
    """Return the largest of the `count` smallest values, or what none reaches for a count below 1."""
    if count < 1:
        return values.new_tensor(UNREACHED)
    # By rank: torch.quantile refuses more than 2^24 values, which a large batch on a GPU has.
    return values.kthvalue(count).values


def agree(views: Tensor) -> Tensor:
    """Tell where all views, vn1hw probabilities, are on the same side of 0.5: n1hw bool."""
    foreground = views >= DECISION
    return foreground.all(dim=0) | ~foreground.any(dim=0)


def pseudo_label_loss(logits: Tensor, labels: Tensor, weights: Tensor, section: PseudoLabelSection) -> Tensor:
    """Return the loss that `section.loss` names, over the pixels that count; all are n1hw float32."""
    match section.loss:
        case "symmetric":
            return symmetric_cross_entropy(logits, labels, weights)
        case "cross_entropy":
            return bce(logits, labels, weights)
        case "bce_dice":
            return bce(logits, labels, weights) + soft_dice(logits, labels, weights)


def symmetric_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return 0.1 CE + 1.0 RCE, weighted means over the pixels.

    Wang et al., Symmetric cross entropy for robust learning with noisy labels, ICCV 2019, with the weights of
    Zhang et al., ProDA, CVPR 2021. RCE = -(p log t + (1 - p) log(1 - t)), p the prediction, t the label,
    within 1e-4 to 1 - 1e-4: it is bounded and linear in p, so that a wrong label pulls no harder the surer
    the prediction is.

    Args:
        logits: n1hw float32.
        labels: n1hw float32, 0 to 1.
        weights: n1hw float32, at least 0.
    """
    probability = logits.sigmoid()
    label = labels.clamp(LEAST_LABEL, 1.0 - LEAST_LABEL)
    reverse = -(probability * label.log() + (1.0 - probability) * (1.0 - label).log())
    mean = (reverse * weights).sum() / weights.sum().clamp(min=LEAST_SUM)
    return FORWARD_WEIGHT * bce(logits, labels, weights) + REVERSE_WEIGHT * mean


def ramp(progress: float, until: float) -> float:
    """Return exp(-5 (1 - p)^2), p = min(1, progress / until); 1 where `until` is 0.

    Laine and Aila, Temporal ensembling, ICLR 2017: early labels come from a network that has not adapted yet.
    """
    share = min(1.0, progress / until) if until > 0.0 else 1.0
    return exp(-RAMP_STEEPNESS * (1.0 - share) ** 2)
