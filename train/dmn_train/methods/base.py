"""What every training method offers to the loop."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.pairs import OtherSections
from dmn_train.views import TargetViews


@dataclass(frozen=True)
class OwnRate:
    """A part of a method that learns at a rate of its own.

    Attributes:
        part: its weights; no other such part holds them.
        lr: peak of its learning rate, which rises and falls as the network's does.
        betas: of AdamW,
        weight_decay: likewise.
    """

    part: nn.Module
    lr: float
    betas: tuple[float, float]
    weight_decay: float


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

    def begin(self, network: DomainNetwork) -> None:
        """Take what the method wants of the first weights; called once, before anything is moved or learned.

        What it makes here are modules and buffers, so that checkpoints hold it. Most methods want nothing.
        """

    def after_step(self, network: DomainNetwork, done: int) -> None:
        """Take what the method wants of the weights that step number `done`, from 0, has left.

        Most methods want nothing.
        """

    def rates(self) -> tuple[OwnRate, ...]:
        """Return the parts that learn at a rate of their own; asked after `begin`. Most methods have none."""
        return ()

    def alarms(self, source_foreground_share: float) -> tuple[str, ...]:
        """Return sentences on what has gone wrong in the steps so far. Most methods know of nothing.

        Args:
            source_foreground_share: share of the source's labelled voxels that are foreground.
        """
        del source_foreground_share
        return ()


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


def views_of(batch: Batch) -> TargetViews:
    """Return the target's views of a batch that must have them."""
    assert batch.views is not None, "target views are drawn for every method whose options have views"
    return batch.views


def plain_of(batch: Batch) -> Tensor:
    """Return the source's crops, nchw, with no change of intensity, of a batch that must have them."""
    assert batch.plain is not None, "plain crops are drawn for every method whose options translate them"
    return batch.plain


def others_of(batch: Batch) -> OtherSections:
    """Return the other section of every crop of a batch that must have them."""
    assert batch.others is not None, "pairs of sections are drawn for method isc"
    return batch.others
