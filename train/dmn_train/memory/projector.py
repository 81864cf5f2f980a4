"""From decoder features to the vectors that prototypes are made of."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features

CELL_PX = 4  # edge of the cell that a vector stands for
LEVELS = 2  # decoder levels that a vector sees, full resolution first


@final
class Projector(nn.Module):
    """Two 1x1 convolutions from the last decoder levels, averaged over cells of 4 px, to unit vectors.

    There is no BatchNorm: source and target would be normalised each by itself, and the difference between
    the domains, which is what prototypes are to measure, would be taken out of them.
    """

    def __init__(self, spec: NetworkSpec, width: int) -> None:
        super().__init__()
        channels = sum(spec.base << level for level in range(min(LEVELS, spec.levels)))
        self.hidden = nn.Conv2d(channels, width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, features: Features) -> Tensor:
        """Return z, nd(h / 4)(w / 4) float32, of length 1 along d."""
        levels = features.decoder[:LEVELS]
        pooled = [functional.avg_pool2d(feature, CELL_PX >> level) for level, feature in enumerate(levels)]
        vectors = self.out(functional.relu(self.hidden(torch.cat(pooled, dim=1))))
        return functional.normalize(vectors.float(), dim=1)
