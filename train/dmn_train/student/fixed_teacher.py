"""A teacher that has learned: what it says of a plain crop is the mean over its turned views."""

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from dmn_train.networks.unet import Features, UNet
from dmn_train.teacher import predict_views


class Taught(NamedTuple):
    """What a teacher says; nothing here has a gradient.

    Attributes:
        probability: n1hw float32, of foreground, the mean over the views.
        features: of the crops as they are.
    """

    probability: Tensor
    features: Features


@final
class FixedTeacher(nn.Module):
    """A network that is never trained. Checkpoints hold it as part of the method, packages do not.

    A convolutional network is not the same in all eight flips and quarter turns; the mean over them is a
    better label than any of them, and the wrong ones show where they differ.
    """

    def __init__(self, network: UNet, views: int) -> None:
        super().__init__()
        self._views = views
        self.network = network.requires_grad_(False)

    @torch.no_grad()
    def forward(self, plain: Tensor) -> Taught:
        """Return what the teacher says of crops, nchw float32 with h = w."""
        predicted = predict_views(self.network, plain, self._views)
        # View after view: a mean over the stack may add in another order, and round otherwise.
        total = predicted.views[0]
        for view in predicted.views[1:]:
            total = total + view
        return Taught(total / self._views, predicted.features)
