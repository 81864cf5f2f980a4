"""What the memory says about a vector: how like each structure it is, and how likely foreground."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.options import RetrievalSpec
from dmn_train.memory.prototypes import Prototypes, cosines
from dmn_train.memory.structure import foreground_classes
from dmn_train.memory.vectors import as_rows


class Retrieved(NamedTuple):
    """The memory's answer; nothing here has a gradient.

    Attributes:
        scores: nchw float32, c structure classes; r_c, within -1 to 1, -inf for a class without a prototype.
        logit: n1hw float32; its sigmoid is q, the probability of foreground.
    """

    scores: Tensor
    logit: Tensor


def retrieve(vectors: Tensor, prototypes: Prototypes, spec: RetrievalSpec) -> Retrieved:
    """Ask the memory about a map of unit vectors, ndhw."""
    n, _, height, width = vectors.shape
    scores = class_scores(cosines(as_rows(vectors), prototypes), spec.slot_temperature)
    logit = foreground_logit(scores, spec.class_temperature)
    return Retrieved(
        scores.view(n, height, width, -1).movedim(-1, 1).contiguous(), logit.view(n, 1, height, width)
    )


def class_scores(likeness: Tensor, temperature: float) -> Tensor:
    """Return r_c = sum_k a_ck cos_ck, a_c = softmax_k(cos_ck / tau_m), over the filled slots of a class.

    Args:
        likeness: (n, classes, slots) float32 cosines, -inf for empty slots.
        temperature: tau_m.

    Returns:
        (n, classes) float32, -inf for a class with empty slots alone.
    """
    # Softmax of nothing but -inf is no number; such a class gets -inf in the end.
    empty = (likeness == -torch.inf).all(dim=2, keepdim=True)
    attention = likeness.masked_fill(empty, 0.0).div(temperature).softmax(dim=2)
    sums = (attention * likeness.clamp(min=-1.0)).sum(dim=2)
    return sums.masked_fill(empty.squeeze(2), -torch.inf)


def foreground_logit(scores: Tensor, temperature: float) -> Tensor:
    """Return log q_fg - log q_bg = (r_fg - r_bg) / tau_q, r_g = tau_q log mean exp(r_c / tau_q), c in g.

    The temperature is inside of the log-sum-exp as well: without it that of two cosines is nearly their mean,
    and what is one sub-class through and through would score no better than what is half like both. The mean
    in place of the sum changes nothing while both groups have as many sub-classes; where one is still
    unknown, it keeps the other group from winning by number.

    Args:
        scores: (n, classes) float32, foreground first; -inf for a class without a prototype.
        temperature: tau_q.

    Returns:
        (n,) float32; 0, which is to know nothing, where foreground or background has no prototype at all.
    """
    foreground = foreground_classes(scores.shape[1])
    groups = scores[:, :foreground], scores[:, foreground:]
    inside, outside = (
        (group / temperature).logsumexp(dim=1) - (group > -torch.inf).sum(dim=1).clamp(min=1).float().log()
        for group in groups
    )
    known = (inside > -torch.inf) & (outside > -torch.inf)
    return torch.where(known, inside - outside, 0.0)


def at_pixels(logit: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a map of logits, n1hw, at the size of an image, by linear interpolation."""
    return functional.interpolate(logit, size=size, mode="bilinear", align_corners=False)
