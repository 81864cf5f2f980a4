"""DANN: discriminators tell the domains apart by their features, and the network learns to mislead them.

Ganin et al., Domain-adversarial training of neural networks, JMLR 2016; at several encoder levels Roels et
al., ISBI 2019. Each aligned level has a discriminator behind a gradient reversal.

It departs from the 2018 code of Roels et al. in three points. Lambda is the factor of the reversal rather
than of the whole term: it scales what the network feels, not what the discriminator learns. Lambda rises over
the run (Ganin's ramp), where their factor is constant. The discriminator is convolutional to the end and
judges every patch, where theirs has fully connected layers for one crop size; it has no BatchNorm, whose
statistics over a batch of both domains would tell each sample about the others. The departures that all
methods share stand in `levels.py`.
"""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of
from dmn_train.methods.levels import aligned, level_channels, level_weights, ramp
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.sections import DannSection, LossSection

BOTTOM_BLOCKS = 2  # strided blocks of the deepest level's discriminator; each level above has one more
SLOPE = 0.2


@final
class Dann(Method):
    """Supervised training against one discriminator an aligned level."""

    def __init__(self, section: DannSection, loss: LossSection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self._weights = level_weights(section, spec)
        self.discriminators = nn.ModuleList(
            _discriminator(channels, section.channels, BOTTOM_BLOCKS + spec.levels - depth)
            for weight, (channels, depth) in zip(self._weights, level_channels(spec), strict=True)
            if weight > 0.0
        )

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms, domain (mean cross-entropy) and domain_accuracy."""
        source, target = network.both_features(batch.image, target_of(batch))
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        domain, told = self.confusion(source, target, progress)
        return {"loss": terms["segmentation"] + domain, **terms, **told}

    def confusion(
        self, source: Features, target: Features, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the discriminators add to the loss, and domain and domain_accuracy to be logged.

        Args:
            source: features of source images.
            target: features of target images.
            progress: share of the steps that is done, 0 to 1.
        """
        rise = ramp(self._section, progress)
        domain, right = source.logits.new_zeros((), dtype=torch.float32), []
        levels = aligned(self._weights, source, target)
        for discriminator, (weight, one, two) in zip(self.discriminators, levels, strict=True):
            for feature, is_target in ((one, 0.0), (two, 1.0)):
                verdict = discriminator(reverse_gradient(feature, weight * rise)).float()
                truth = torch.full_like(verdict, is_target)
                domain = domain + functional.binary_cross_entropy_with_logits(verdict, truth)
                right.append(((verdict > 0) == (truth > 0.5)).float().mean().detach())
        mean = domain / max(1, len(right))
        accuracy = torch.stack(right).mean() if right else domain.detach()
        return domain, {"domain": mean, "domain_accuracy": accuracy}


def reverse_gradient(feature: Tensor, factor: float) -> Tensor:
    """Return `feature` unchanged; on the way back its gradient is multiplied by -factor."""
    reversed_: Tensor = _Reversal.apply(feature, factor)  # type: ignore[no-untyped-call]
    return reversed_


class _Reversal(Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return feature.view_as(feature)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradient, None


def _discriminator(before: int, channels: int, blocks: int) -> nn.Sequential:
    """Build `blocks` strided convolutions and a 1x1 one: logits of "this patch is target", n1hw."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [nn.Conv2d(before if block == 0 else channels, channels, 3, stride=2, padding=1)]
        layers += [nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))
