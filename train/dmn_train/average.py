"""The exponential moving average of a network's weights, BatchNorm's buffers included."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float, step: int) -> None:
    """Move `average` towards `network`: a <- d a + (1 - d) n, d = min(decay, (1 + step) / (10 + step)).

    Running means and variances are averaged like weights: an average of weights with stale statistics is
    another network. Counters are copied.
    """
    d = min(decay, (1 + step) / (10 + step))
    theirs = _tensors(network)
    for name, mine in _tensors(average).items():
        if mine.is_floating_point():
            mine.lerp_(theirs[name], 1.0 - d)
        else:
            mine.copy_(theirs[name])


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
