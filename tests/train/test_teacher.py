"""The teacher: an average that holds BatchNorm's statistics, and predictions without a trace."""

import copy

import pytest
import torch
from torch import Tensor, nn

from dmn_train.domains import DomainNetwork
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.sections import TeacherSection
from dmn_train.teacher import Teacher
from dmn_train.views import turned


@pytest.fixture
def network() -> DomainNetwork:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    return DomainNetwork(UNet(NetworkSpec(base=2, levels=2, context_slices=0)), two_domains=True).train()


@pytest.fixture
def plain() -> Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(5))


def fill(network: nn.Module, value: float) -> None:
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data.fill_(value)


@pytest.mark.parametrize(("buffers", "statistic", "count"), [("average", 2.5, 4), ("own", 2.0, 2)])
def test_it_follows_by_hand(network: DomainNetwork, buffers: str, statistic: float, count: int) -> None:
    """At step 5 the decay is min(0.75, 6 / 15) = 0.4, later on 0.75: 0.75 * 2 + 0.25 * 4 = 2.5."""
    fill(network, 2.0)
    section = TeacherSection(decay=0.75, buffers=buffers)  # type: ignore[arg-type]
    teacher = Teacher(network, section)
    fill(network, 4.0)
    teacher.follow(network, 1000)
    state = teacher.network.state_dict()
    assert state["network.head.weight"].unique().tolist() == [2.5]
    for name in ("network.down.0.1.running_mean", "source_statistics.0.running_var"):
        assert state[name].unique().tolist() == [statistic]
    assert state["network.down.0.1.num_batches_tracked"].item() == count
    early = Teacher(network, section)
    fill(network, 9.0)
    early.follow(network, 5)
    torch.testing.assert_close(early.network.network.head.bias, torch.tensor([0.4 * 4.0 + 0.6 * 9.0]))


def test_it_does_not_share_memory_with_the_network(network: DomainNetwork) -> None:
    teacher = Teacher(network, TeacherSection())
    before = copy.deepcopy(teacher.network.state_dict())
    fill(network, 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())


def test_it_predicts_in_eval_mode_with_the_targets_statistics(network: DomainNetwork, plain: Tensor) -> None:
    for statistics in network.source_statistics:
        statistics.running_mean.fill_(3.0)  # type: ignore[operator, union-attr]
    teacher = Teacher(network, TeacherSection(views=1)).train()
    before = copy.deepcopy(teacher.state_dict())
    predicted, features = teacher.predict(plain.requires_grad_(True))
    assert predicted.shape == (1, 2, 1, 16, 16)
    assert not predicted.requires_grad
    assert not features.decoder[0].requires_grad
    assert not teacher.network.network.training
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(plain).sigmoid()
    torch.testing.assert_close(predicted[0], expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_views_are_turned_back(network: DomainNetwork, plain: Tensor) -> None:
    """The mean over all views of a turned crop is the turned mean: turning one puts all in another order."""
    teacher = Teacher(network, TeacherSection(views=8))
    one, other = teacher.predict(plain).views, teacher.predict(turned(plain, 3)).views
    assert one.shape == (8, 2, 1, 16, 16)
    torch.testing.assert_close(turned(one.mean(dim=0), 3), other.mean(dim=0), atol=1e-6, rtol=0)
    assert (one[0] - one[1]).abs().max() > 1e-3


def test_features_are_those_of_the_crops_as_they_are(network: DomainNetwork, plain: Tensor) -> None:
    views, features = Teacher(network, TeacherSection(views=3)).predict(plain)
    assert torch.equal(features.logits.sigmoid(), views[0])
