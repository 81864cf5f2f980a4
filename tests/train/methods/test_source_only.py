"""Source only: the segmentation loss and nothing else."""

import torch

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.source_only import SourceOnly
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.sections import LossSection

LOSS = LossSection(dice=0.5)


def test_the_loss_is_that_of_the_segmentation(batch: Batch, spec: NetworkSpec) -> None:
    network = DomainNetwork(UNet(spec), two_domains=False)
    losses = SourceOnly(LOSS).losses(network, batch, progress=0.5)
    terms = segmentation_loss(network(batch.image), batch.truth, batch.valid, LOSS)
    assert set(losses) == {"loss", "segmentation", "cross_entropy", "dice"}
    torch.testing.assert_close(losses["loss"], terms["segmentation"])
    torch.testing.assert_close(losses["loss"], losses["cross_entropy"] + 0.5 * losses["dice"])


def test_it_learns_nothing_beside_the_network_and_wants_no_target(batch: Batch, spec: NetworkSpec) -> None:
    method = SourceOnly(LOSS)
    assert not method.state_dict()
    network = DomainNetwork(UNet(spec), two_domains=False)
    with_target = method.losses(network, batch, 0.0)["loss"]
    without = method.losses(network, batch._replace(target=None), 0.0)["loss"]
    assert torch.equal(with_target, without)
