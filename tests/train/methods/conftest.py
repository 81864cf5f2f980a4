"""A small network of two domains and a batch of both, with nothing left to chance."""

import pytest
import torch

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet

SPEC = NetworkSpec(base=2, levels=2, context_slices=0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def spec() -> NetworkSpec:
    return SPEC


@pytest.fixture
def network() -> DomainNetwork:
    torch.manual_seed(3)
    return DomainNetwork(UNet(SPEC), two_domains=True).train()


@pytest.fixture
def batch() -> Batch:
    """Return crops of 16 px; the target is brighter and of another contrast, some pixels are unlabelled."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(2, 1, 16, 16, generator=generator)
    truth = (torch.rand(2, 1, 16, 16, generator=generator) < 0.3).float()
    valid = (torch.rand(2, 1, 16, 16, generator=generator) < 0.9).float()
    target = 1.0 + 0.5 * torch.randn(2, 1, 16, 16, generator=generator)
    return Batch(image, truth * valid, valid, target)
