"""AdaBN: the loss of source only, and the target's statistics in the network."""

import copy

import torch

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.adabn import AdaBN
from dmn_train.methods.source_only import SourceOnly
from dmn_train.sections import LossSection


def test_loss_and_gradients_are_those_of_source_only(network: DomainNetwork, batch: Batch) -> None:
    twin = copy.deepcopy(network)
    losses = AdaBN(LossSection()).losses(network, batch, 0.5)
    expected = SourceOnly(LossSection()).losses(twin, batch, 0.5)
    assert {name: value.item() for name, value in losses.items()} == {
        name: value.item() for name, value in expected.items()
    }
    losses["loss"].backward()
    expected["loss"].backward()
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


def test_the_target_moves_the_statistics_that_are_exported(network: DomainNetwork, batch: Batch) -> None:
    twin = copy.deepcopy(network)
    AdaBN(LossSection()).losses(network, batch, 0.5)
    assert batch.target is not None
    twin.target_features(batch.target)
    theirs = dict(twin.network.named_buffers())
    for name, mine in network.network.named_buffers():
        assert torch.equal(mine, theirs[name])
    assert network.network.down[0][1].num_batches_tracked.item() == 1


def test_it_learns_nothing_beside_the_network() -> None:
    assert not AdaBN(LossSection()).state_dict()
