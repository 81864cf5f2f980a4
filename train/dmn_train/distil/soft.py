"""The divergence of a student's output from a teacher's, softened by a temperature.

Hinton et al., Distilling the knowledge in a neural network, 2015, for one logit and two classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.losses import LEAST_SUM

LEAST_PROBABILITY = 1e-6


def logits_of(probability: Tensor) -> Tensor:
    """Return the finite logits, float32, of a mean of probabilities, any shape."""
    return torch.logit(probability.float(), eps=LEAST_PROBABILITY)


def soft_divergence(teacher: Tensor, student: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the weighted mean over pixels of KL(p_T || p_S), p = sigmoid(logit / T).

    p (log p - log p') + (1 - p) (log(1 - p) - log(1 - p')); T^2 keeps the size of its gradient. The gradient
    is the student's alone.

    Args:
        teacher: n1hw logits.
        student: n1hw logits.
        weights: n1hw, at least 0.
        temperature: T.
    """
    theirs = teacher.detach().float() / temperature
    mine = student.float() / temperature
    each = theirs.sigmoid() * (functional.logsigmoid(theirs) - functional.logsigmoid(mine))
    each = each + (-theirs).sigmoid() * (functional.logsigmoid(-theirs) - functional.logsigmoid(-mine))
    return temperature**2 * (each * weights).sum() / weights.sum().clamp(min=LEAST_SUM)
