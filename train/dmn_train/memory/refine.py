"""Labels that a teacher makes up, set right by what the memory says.

Zhang et al., Prototypical pseudo label denoising and target structure learning (ProDA), CVPR 2021:
the soft label is multiplied by the prototypes' softmax. With one logit for two classes a product of
probabilities is a sum of logits:

logit(ptilde) = logit(p_T) + eta logit(q).

It departs from ProDA in eta, which rises as the bank gets better, in what a pixel counts, and in leaving out
pixels on which teacher and memory disagree, because our bank learns from the same labels that it refines.
What becomes of these in a step is `refined_labels` of `methods/dismemnet_parts/prototype_memory.py`.
"""

from math import log

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.options import RefineSpec

LEAST_PROBABILITY = 1e-6  # p and 1 - p are no less, so that logits are finite


def multiplied(teacher: Tensor, memory_logit: Tensor, power: float) -> Tensor:
    """Return ptilde = p q^eta / (p q^eta + (1 - p) (1 - q)^eta), float32.

    Args:
        teacher: p, any shape.
        memory_logit: logit of q.
        power: eta.
    """
    return torch.sigmoid(torch.logit(teacher.float(), eps=LEAST_PROBABILITY) + power * memory_logit.float())


def certainty(probability: Tensor, least: float) -> Tensor:
    """Return 1 - H(p) / log 2 where the likelier class has at least `least`, else 0; float32.

    Args:
        probability: p, any shape.
        least: 0.5 to 1.
    """
    logit = torch.logit(probability.float(), eps=LEAST_PROBABILITY)
    # H = log(1 + e^l) - p l, and l may be of either sign: with |l| nothing large is subtracted from another.
    size = logit.abs()
    entropy = functional.softplus(-size) + size * torch.sigmoid(-size)
    sure = torch.maximum(probability, 1.0 - probability) >= least
    return sure * (1.0 - entropy / log(2.0)).clamp(min=0.0)


def memory_agrees(teacher: Tensor, memory_logit: Tensor) -> Tensor:
    """Tell where p_T and q are not on different sides of 0.5: bool. Who knows nothing agrees."""
    return (teacher.float() - 0.5) * memory_logit.float() >= 0.0


def power(spec: RefineSpec, progress: float) -> float:
    """Return eta at `progress`, 0 to 1."""
    return spec.first_power + (spec.last_power - spec.first_power) * progress
