"""What every training method offers to the loop."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork


class Method(nn.Module, ABC):
    """How the loss of a batch comes about.

    What a method needs beside the network and learns with it (discriminators, a second decoder) are modules
    of its own. They end with the training: weights and packages hold the network alone.
    """

    @abstractmethod
    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return named scalars; the loop descends along `loss` and logs all.

        Args:
            network: in training mode, on the batch's device.
            batch: crops of the source and, for a method that adapts, of the target.
            progress: share of the steps that is done, 0 to 1.
        """


class Objective(nn.Module):
    """Network and method as one module, so that several devices average the gradients of both."""

    def __init__(self, network: DomainNetwork, method: Method) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the method's losses."""
        return self.method.losses(self.network, batch, progress)


def target_of(batch: Batch) -> Tensor:
    """Return the target's crops, nchw, of a batch that must have them."""
    assert batch.target is not None, "the loop draws target crops for every method that adapts"
    return batch.target
