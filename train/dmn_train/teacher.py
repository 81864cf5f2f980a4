"""The teacher of self-training: the network's moving average, which predicts and is never trained.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017. BatchNorm's statistics are averaged
like weights: an average of weights with statistics of another time is another network, and the usual reason
for a teacher that is worse than its student.
"""

import copy
from typing import final

import torch
from torch import Tensor, nn

from dmn_train.average import update_average
from dmn_train.domains import DomainNetwork
from dmn_train.sections import TeacherSection
from dmn_train.views import turned, turned_back


@final
class Teacher(nn.Module):
    """A copy of the network that follows it: a <- d a + (1 - d) n, d = min(decay, (1 + step) / (10 + step)).

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

    @torch.no_grad()
    def predict(self, plain: Tensor) -> Tensor:
        """Return the probability of foreground in target crops, by view: vn1hw float32 without a gradient.

        Args:
            plain: nchw float32, h = w; each of the teacher's views of it is predicted and turned back.
        """
        # Training mode comes with the objective's; this network uses the target's running statistics alone.
        self.network.eval()
        logits = [
            turned_back(self.network(turned(plain, view)).float(), view)
            for view in range(self._section.views)
        ]
        return torch.stack(logits).sigmoid()
