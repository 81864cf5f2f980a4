"""The exponential moving average of a network's weights, BatchNorm's buffers included."""

from itertools import chain

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_average(
    average: nn.Module, network: nn.Module, *, decay: float, step: int, buffers: bool = True
) -> None:
    """Move `average` towards `network`: a <- d a + (1 - d) n, d = min(decay, (1 + step) / (10 + step)).

    An average of decay d looks back 1 / (1 - d) steps. The bound, which keeps the first weights from staying
    in it, makes that a tenth of the steps done where this is less: 0.95 is reached at step 170, 0.99 at step
    890, 0.999 at step 8990, and in a run of 600 steps all decays from 0.9853 on are the same.

    Running means and variances are averaged like weights: an average of weights with stale statistics is
    another network. Counters are copied. Without `buffers` all of these stay as they are.
    """
    d = min(decay, (1 + step) / (10 + step))
    theirs = _tensors(network, buffers=buffers)
    for name, mine in _tensors(average, buffers=buffers).items():
        if mine.is_floating_point():
            mine.lerp_(theirs[name], 1.0 - d)
        else:
            mine.copy_(theirs[name])


def _tensors(module: nn.Module, *, buffers: bool) -> dict[str, Tensor]:
    return dict(chain(module.named_parameters(), module.named_buffers() if buffers else ()))
