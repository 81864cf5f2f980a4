"""Side outputs on the way up, which learn the same labels as the output does.

Lee et al., Deeply-supervised nets, AISTATS 2015. They end with the training.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.distil.options import SIDE_DEPTHS
from dmn_train.losses import LEAST_SUM, bce
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features


@final
class SideHeads(nn.Module):
    """A 1x1 convolution on the decoder's features of 1/2 and of 1/4 of the resolution, if it has them."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self._depths = tuple(depth for depth in SIDE_DEPTHS if depth < spec.levels)
        self.heads = nn.ModuleList(nn.Conv2d(spec.base << depth, 1, 1) for depth in self._depths)

    def forward(self, features: Features) -> tuple[Tensor, ...]:
        """Return the logits, n1hw each, full resolution's half first."""
        return tuple(
            head(features.decoder[depth]) for depth, head in zip(self._depths, self.heads, strict=True)
        )


def side_loss(outputs: tuple[Tensor, ...], labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over side outputs of the weighted cross-entropy; 0 without any.

    A label of a cell is the weighted mean of its pixels' labels, its weight the mean of their weights.

    Args:
        outputs: logits, n1hw, each at 1/2, 1/4 ... of the labels' size.
        labels: n1hw float32, 0 to 1.
        weights: n1hw float32, at least 0.
    """
    terms = []
    for logits in outputs:
        cells, counts = pooled(labels, weights, labels.shape[-1] // logits.shape[-1])
        terms.append(bce(logits.float(), cells, counts))
    return torch.stack(terms).mean() if terms else labels.new_zeros(())


def pooled(labels: Tensor, weights: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return labels and weights, n1hw, of cells of `factor` x `factor` pixels."""
    counts = functional.avg_pool2d(weights, factor)
    return functional.avg_pool2d(labels * weights, factor) / counts.clamp(min=LEAST_SUM), counts
