"""What the teacher makes of the plain target crops: probabilities in several views, and features."""

from typing import NamedTuple

import torch
from torch import Tensor

from dmn_train.networks.unet import Features
from dmn_train.teacher import Teacher
from dmn_train.views import turned, turned_back


class Sight(NamedTuple):
    """What a teacher sees; nothing here has a gradient.

    Attributes:
        views: vn1hw float32, probability of foreground by view, turned back.
        features: of the crops as they are.
    """

    views: Tensor
    features: Features


@torch.no_grad()
def look(teacher: Teacher, plain: Tensor, views: int) -> Sight:
    """Return what `Teacher.predict` does, and the features that its first view is made of.

    Args:
        teacher: is left in eval mode.
        plain: nchw float32, h = w.
        views: of the teacher.
    """
    network = teacher.network.eval()
    features = network.target_features(turned(plain, 0))
    logits = [turned_back(features.logits.float(), 0)]
    logits += [turned_back(network(turned(plain, view)).float(), view) for view in range(1, views)]
    return Sight(torch.stack(logits).sigmoid(), features)
