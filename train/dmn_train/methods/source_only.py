"""Source only: supervised training on the labelled volume, the baseline of every adaptation.

L = BCE(f(x), y) + w * (1 - Dice(sigmoid f(x), y)), over labelled pixels; "FT at 0 labels" of Roels et al.,
Domain adaptive segmentation in volume electron microscopy imaging, ISBI 2019. What carries it over to other
volumes is the intensity augmentation and, if the recipe asks for it, matching the histogram of the target
(Franco-Barranco et al., Computer Methods and Programs in Biomedicine, 2022).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from dmn_train.data import Batch
from dmn_train.losses import bce, soft_dice


@dataclass(frozen=True)
class SourceOnly:
    """Supervised training; `dice_weight` is w."""

    dice_weight: float

    def losses(self, network: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, bce and dice of the batch; `progress` plays no part."""
        del progress
        logits = network(batch.image).float()
        entropy = bce(logits, batch.truth, batch.valid)
        dice = soft_dice(logits, batch.truth, batch.valid)
        return {"loss": entropy + self.dice_weight * dice, "bce": entropy, "dice": dice}
