"""Statistics of each domain: the target's are exported, the source's serve the curves, none spills over."""

import copy

import pytest
import torch
from torch import Tensor

from dmn_train.average import update_average
from dmn_train.domains import DomainNetwork, statistics_pass
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet

SPEC = NetworkSpec(base=2, levels=2, context_slices=0)
SOURCE = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TARGET = 3.0 + 2.0 * torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
KEPT = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def network() -> DomainNetwork:
    torch.manual_seed(2)
    return DomainNetwork(UNet(SPEC), two_domains=True).train()


def of_target(network: DomainNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.network.named_buffers()}


def of_source(network: DomainNetwork) -> dict[str, Tensor]:
    with network.as_source() as lent:
        return {name: tensor.clone() for name, tensor in lent.named_buffers()}


def alike(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def first_norm(network: DomainNetwork) -> torch.nn.BatchNorm2d:
    norm = network.network.down[0][1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    return norm


def test_running_statistics_are_plain_means_of_what_the_domain_put_in(network: DomainNetwork) -> None:
    for kept in (first_norm(network), network.source_statistics[0]):
        kept.running_mean.fill_(9.0)
    first_norm(network).momentum = 0.25
    network.source_features(SOURCE)
    network.target_features(TARGET)
    network.source_features(SOURCE)
    with torch.no_grad():
        went_in = {name: network.network.down[0][0](image) for name, image in (("s", SOURCE), ("t", TARGET))}
    means = {name: feature.mean(dim=(0, 2, 3)) for name, feature in went_in.items()}
    variances = {name: feature.var(dim=(0, 2, 3)) for name, feature in went_in.items()}
    norm, source = first_norm(network), network.source_statistics[0]
    torch.testing.assert_close(norm.running_mean, 0.75 * 9.0 + 0.25 * means["t"])
    torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * variances["t"])
    torch.testing.assert_close(source.running_mean, 0.5625 * 9.0 + 0.4375 * means["s"])
    torch.testing.assert_close(source.running_var, 0.5625 + 0.4375 * variances["s"])
    assert (norm.num_batches_tracked.item(), source.num_batches_tracked.item()) == (1, 2)


def test_neither_domain_touches_the_others_statistics(network: DomainNetwork) -> None:
    target = of_target(network)
    network.source_features(SOURCE)
    assert alike(of_target(network), target)
    source = of_source(network)
    network.target_features(TARGET)
    assert alike(of_source(network), source)
    assert not alike(of_target(network), target)
    assert not alike(of_target(network), source)


def test_the_network_is_the_one_that_the_target_sees(network: DomainNetwork) -> None:
    for _ in range(3):
        network.source_features(SOURCE)
        network.target_features(TARGET)
    network.eval()
    assert torch.equal(network(TARGET), network.network(TARGET))
    with network.as_source() as lent:
        assert lent is network.network
        as_source = lent(TARGET)
    assert not torch.allclose(as_source, network(TARGET))
    assert torch.equal(network.source_features(TARGET).logits, as_source)


def test_the_loan_ends_after_an_exception_too(network: DomainNetwork) -> None:
    network.target_features(TARGET)
    before, source = of_target(network), of_source(network)
    with pytest.raises(RuntimeError, match="in between"), network.as_source():
        raise RuntimeError("in between")
    assert alike(of_target(network), before)
    assert alike(of_source(network), source)
    with pytest.raises(RuntimeError):
        network.source_features(torch.zeros(1, 7, 16, 16))
    assert alike(of_target(network), before)


def test_a_clean_pass_moves_statistics_and_leaves_no_gradient(network: DomainNetwork) -> None:
    before = of_target(network)
    statistics_pass(network, TARGET.clone().requires_grad_(True))
    assert not alike(of_target(network), before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_average_carries_both_domains(network: DomainNetwork) -> None:
    average = copy.deepcopy(network)
    start_target, start_source = of_target(average), of_source(average)
    network.source_features(SOURCE)
    network.target_features(TARGET)
    update_average(average, network, decay=0.75, step=10**6)
    for mine, start, now in (
        (of_target(average), start_target, of_target(network)),
        (of_source(average), start_source, of_source(network)),
    ):
        for name, value in mine.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * now[name])
            else:
                assert value.item() == now[name].item() == 1


def test_the_state_carries_both_domains(network: DomainNetwork) -> None:
    network.source_features(SOURCE)
    network.target_features(TARGET)
    torch.manual_seed(7)
    other = DomainNetwork(UNet(SPEC), two_domains=True)
    other.load_state_dict(network.state_dict())
    assert alike(of_target(other), of_target(network))
    assert alike(of_source(other), of_source(network))


def test_weights_from_elsewhere_start_both_domains_alike(network: DomainNetwork) -> None:
    network.target_features(TARGET)
    assert not alike(of_source(network), of_target(network))
    network.take_statistics()
    assert alike(of_source(network), of_target(network))
    source = of_source(network)
    network.target_features(TARGET)
    assert alike(of_source(network), source)


def test_one_domain_has_one_set() -> None:
    network = DomainNetwork(UNet(SPEC), two_domains=False).train()
    assert not network.source_statistics
    assert all(name.startswith("network.") for name in network.state_dict())
    network.source_features(SOURCE)
    assert first_norm(network).num_batches_tracked.item() == 1
    before = of_target(network)
    with network.as_source() as lent:
        assert alike(dict(lent.named_buffers()), before)


def test_every_batch_norm_has_statistics_of_the_source(network: DomainNetwork) -> None:
    norms = [module for module in network.network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(network.source_statistics) == len(norms) == 10
    for norm, kept in zip(norms, network.source_statistics, strict=True):
        for name in KEPT:
            assert getattr(norm, name).data_ptr() != getattr(kept, name).data_ptr()


def test_both_domains_are_normalised_apart_or_as_one_batch(network: DomainNetwork) -> None:
    shared = DomainNetwork(copy.deepcopy(network.network), two_domains=False).train()
    apart = copy.deepcopy(network)
    source, target = network.both_features(SOURCE, TARGET)
    assert torch.equal(source.logits, apart.source_features(SOURCE).logits)
    assert torch.equal(target.logits, apart.target_features(TARGET).logits)

    source, target = shared.both_features(SOURCE, TARGET)
    together = copy.deepcopy(apart.network).train().forward_features(torch.cat([SOURCE, TARGET]))
    assert torch.equal(torch.cat([source.logits, target.logits]), together.logits)
    for level, (one, two) in enumerate(zip(source.encoder, target.encoder, strict=True)):
        assert torch.equal(torch.cat([one, two]), together.encoder[level])
    for level, (one, two) in enumerate(zip(source.decoder, target.decoder, strict=True)):
        assert torch.equal(torch.cat([one, two]), together.decoder[level])
    assert len(shared.source_statistics) == 0
    assert first_norm(shared).num_batches_tracked.item() == 1


def test_kept_statistics_stay_and_training_normalises_by_the_batch_all_the_same(
    network: DomainNetwork,
) -> None:
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with network.statistics_kept():
        kept = network(TARGET)
    assert alike(dict(network.named_buffers()), before)
    assert torch.equal(network(TARGET), kept)
    assert not alike(dict(network.named_buffers()), before)


def test_statistics_move_again_after_an_exception_too(network: DomainNetwork) -> None:
    with pytest.raises(RuntimeError, match="stop"), network.statistics_kept():
        raise RuntimeError("stop")
    assert first_norm(network).track_running_stats
