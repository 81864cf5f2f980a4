"""Calling a module whose weights are to learn nothing from it."""

from torch import Tensor, nn
from torch.func import functional_call


def call_frozen(module: nn.Module, image: Tensor) -> Tensor:
    """Return module(image) through which gradients reach `image` and no weight of `module`.

    Buffers are copies: running statistics and power iterations do not move either. The module itself is not
    changed, so that it can learn from another term of the same loss.
    """
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    result: Tensor = functional_call(module, {**weights, **buffers}, (image,))
    return result
