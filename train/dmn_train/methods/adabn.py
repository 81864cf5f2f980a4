"""AdaBN: source-only training whose BatchNorm statistics are the target's.

Li et al., Revisiting batch normalization for practical domain adaptation, 2016. No loss on the target: its
crops pass through the network for the running statistics alone. It departs from the paper in two points: they
run along with the training rather than being taken once at its end, and they are those of target crops as
strongly changed as the source's, unless `augment.target_strength` says otherwise. All other methods that
adapt hold the same statistics; what they gain over this one is their own.
"""

from typing import final

from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork, statistics_pass
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of
from dmn_train.sections import LossSection


@final
class AdaBN(Method):
    """Supervised training with the target's statistics."""

    def __init__(self, loss: LossSection) -> None:
        super().__init__()
        self._loss = loss

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss and its terms; `progress` plays no part."""
        del progress
        logits = network.source_features(batch.image).logits
        statistics_pass(network, target_of(batch))
        terms = segmentation_loss(logits.float(), batch.truth, batch.valid, self._loss)
        return {"loss": terms["segmentation"], **terms}
