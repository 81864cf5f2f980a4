"""Source only: supervised training on the labelled volume, the baseline of every adaptation.

L = L_seg(f(x), y) over labelled pixels; "FT at 0 labels" of Roels et al., Domain adaptive segmentation in
volume electron microscopy imaging, ISBI 2019. What carries it over to other volumes is the intensity
augmentation and, if the recipe asks for it, matching the histogram of the target (Franco-Barranco et al.,
Computer Methods and Programs in Biomedicine, 2022). Started from an adapted run (`[init]`) on labelled slices
of the target, it is the fine-tuning of Roels et al.
"""

from typing import final

from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method
from dmn_train.sections import LossSection


@final
class SourceOnly(Method):
    """Supervised training."""

    def __init__(self, loss: LossSection) -> None:
        super().__init__()
        self._loss = loss

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss and its terms; `progress` plays no part."""
        del progress
        logits = network.source_features(batch.image).logits
        terms = segmentation_loss(logits.float(), batch.truth, batch.valid, self._loss)
        return {"loss": terms["segmentation"], **terms}
