"""CORAL: the covariances of source and target features become alike.

Sun and Saenko, Deep CORAL, ECCV workshops 2016: |C_s - C_t|_F^2 / (4 c^2); as a loss on encoder levels Roels
et al., ISBI 2019. It departs from the 2018 code of Roels et al., which takes, channel by channel, the
covariance of pixel positions over a batch of one image: here C is the c x c covariance of the channels over
all pixels of the batch, as in Deep CORAL.
The departures that all methods share stand in `levels.py`.
"""

from typing import final

import torch
from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of
from dmn_train.methods.levels import aligned, level_weights, ramp
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import CoralSection, LossSection


@final
class Coral(Method):
    """Supervised training with like covariances at every aligned level."""

    def __init__(self, section: CoralSection, loss: LossSection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self._weights = level_weights(section, spec)

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms and coral, the weighted sum over levels before the ramp."""
        source, target = network.both_features(batch.image, target_of(batch))
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        distance = terms["segmentation"].new_zeros(())
        for weight, one, two in aligned(self._weights, source, target):
            distance = distance + weight * coral(one, two)
        return {
            "loss": terms["segmentation"] + ramp(self._section, progress) * distance,
            **terms,
            "coral": distance,
        }


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Return |C_s - C_t|_F^2 / (4 c^2) of two batches of features, nchw."""
    channels = source.shape[1]
    return (covariance(source) - covariance(target)).square().sum() / (4 * channels * channels)


def covariance(feature: Tensor) -> Tensor:
    """Return the covariance, (c, c) float32, of the channels of a batch, nchw, over all its pixels."""
    flat = feature.permute(1, 0, 2, 3).flatten(1).float()
    centred = flat - flat.mean(dim=1, keepdim=True)
    with torch.autocast(flat.device.type, enabled=False):
        return centred @ centred.T / max(1, flat.shape[1] - 1)
