"""The loss that draws a pixel's vector to its prototype and away from all others.

-log exp(z p+ / tau) / sum over all slots exp(z p / tau), p+ being the nearest slot of the pixel's class: Zhou
et al., Rethinking semantic segmentation: a prototype view, CVPR 2022, with our bank and classes. The other
slots of the same class are among those it is drawn away from, which keeps slots apart.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.prototypes import Prototypes, masked_cosines

TEMPERATURE = 0.1


def contrast_loss(
    rows: Tensor, classes: Tensor, prototypes: Prototypes, temperature: float = TEMPERATURE
) -> Tensor:
    """Return the mean over the vectors whose class has a prototype; 0 if none has, with gradients of 0.

    Give balanced and confident vectors: this is a plain mean. Its gradient is the vectors' alone.

    Args:
        rows: (n, d) unit vectors.
        classes: (n,) int64; places with none (NO_CLASS) do not count.
        prototypes: (classes, slots, d).
        temperature: tau.
    """
    counts = (classes >= 0) & prototypes.filled.any(dim=1)[classes.clamp(min=0)]
    if not counts.any():
        return rows.sum() * 0.0
    likeness = masked_cosines(rows[counts], prototypes)
    number = classes[counts]
    with torch.no_grad():
        own = likeness[torch.arange(len(number), device=number.device), number].argmax(dim=1)
        positive = number * likeness.shape[2] + own
    return functional.cross_entropy(likeness.flatten(1) / temperature, positive)
