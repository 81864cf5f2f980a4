"""The teacher of self-training: the network's moving average, which predicts and is never trained.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017. BatchNorm's statistics are averaged
like weights: an average of weights with statistics of another time is another network, and the usual reason
for a teacher that is worse than its student.
"""

import copy
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from dmn_train.average import update_average
from dmn_train.domains import DomainNetwork
from dmn_train.networks.unet import Features, UNet
from dmn_train.sections import TeacherSection
from dmn_train.views import turned, turned_back


class Predicted(NamedTuple):
    """What a teacher makes of plain crops; nothing here has a gradient.

    Attributes:
        views: vn1hw float32, probability of foreground by view, turned back.
        features: of the crops as they are, which is view 0.
    """

    views: Tensor
    features: Features


@torch.no_grad()
def predict_views(network: UNet, plain: Tensor, views: int) -> Predicted:
    """Return what a network, which is left in eval mode, says of crops and of their flips and quarter turns.

    Args:
        network: the teacher; its running statistics are used.
        plain: nchw, h = w.
        views: how many of the 8, the crops themselves first.
    """
    # Training mode comes with the objective's.
    network.eval()
    # Not turned(plain, 0), a copy in another memory layout, for which a convolution may round otherwise.
    features = network.forward_features(plain)
    logits = [features.logits.float()]
    logits += [turned_back(network(turned(plain, view)).float(), view) for view in range(1, views)]
    return Predicted(torch.stack(logits).sigmoid(), features)


@final
class Teacher(nn.Module):
    """A copy of the network that follows it by `update_average`.

    Weights have no gradient; optimisers never see them. Checkpoints hold the copy as part of the method.
    """

    def __init__(self, network: DomainNetwork, section: TeacherSection) -> None:
        super().__init__()
        self._section = section
        self.network = copy.deepcopy(network).requires_grad_(False)

    def follow(self, network: DomainNetwork, done: int) -> None:
        """Move towards `network`, which has just taken the step after `done` steps."""
        section = self._section
        averages = section.buffers == "average"
        update_average(self.network, network, decay=section.decay, step=done, buffers=averages)

    def predict(self, plain: Tensor) -> Predicted:
        """Return what the copy says of target crops, nchw with h = w, in as many views as the section wants.

        It uses the target's running statistics alone.
        """
        return predict_views(self.network.network, plain, self._section.views)
