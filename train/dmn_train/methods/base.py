"""What every training method offers to the loop."""

from typing import Protocol

from torch import Tensor, nn

from dmn_train.data import Batch


class Method(Protocol):
    """How the loss of a batch comes about."""

    def losses(self, network: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return named scalars; the loop descends along `loss` and logs all.

        Args:
            network: in training mode, on the batch's device.
            batch: crops of the source.
            progress: share of the steps that is done, 0 to 1.
        """
        ...
