"""DANN: the discriminators learn to tell the domains apart, the network feels the reverse of it, scaled."""

import copy

import pytest
import torch
from torch.nn import functional

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.dann import Dann, reverse_gradient
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import DannSection, LossSection

Gradients = dict[str, torch.Tensor]


@pytest.mark.parametrize("factor", [0.0, 0.25, 3.0])
def test_the_reversal_is_the_identity_and_minus_the_factor_on_the_way_back(factor: float) -> None:
    feature = torch.randn(2, 3, requires_grad=True, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    reversed_ = reverse_gradient(feature, factor)
    assert torch.equal(reversed_, feature)
    reversed_.backward(upstream)
    assert feature.grad is not None
    assert torch.equal(feature.grad, -factor * upstream)


def section(**keys: float) -> DannSection:
    return DannSection(**{"channels": 4, "encoder_levels": 1, "weight": 0.5, **keys})


def make(spec: NetworkSpec, **keys: float) -> Dann:
    torch.manual_seed(11)
    return Dann(section(**keys), LossSection(), spec)


def gradients(module: torch.nn.Module) -> Gradients:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def domain_loss(method: Dann, network: DomainNetwork, batch: Batch, at: int) -> torch.Tensor:
    """Return the discriminator's cross-entropy at an encoder level, nothing reversed."""
    assert batch.target is not None
    (discriminator,) = method.discriminators
    source = discriminator(network.source_features(batch.image).encoder[at])
    target = discriminator(network.target_features(batch.target).encoder[at])
    return functional.softplus(source).mean() + functional.softplus(-target).mean()


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.46211716), (1.0, 0.9999092)])
def test_the_network_feels_the_reversed_gradient_times_lambda_and_ramp(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, progress: float, share: float
) -> None:
    method = make(spec)
    losses = method.losses(network, batch, progress)
    (losses["loss"] - losses["segmentation"]).backward(retain_graph=True)
    felt, learned = gradients(network), gradients(method)

    twin, plain = copy.deepcopy(network), copy.deepcopy(method)
    twin.zero_grad(set_to_none=True)
    plain.zero_grad(set_to_none=True)
    expected = domain_loss(plain, twin, batch, at=-1)
    torch.testing.assert_close(losses["domain"], expected / 2)
    expected.backward()
    theirs = gradients(twin)
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(felt[name], -0.5 * share * gradient, atol=1e-6, rtol=1e-4)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(learned[name], gradient)


def test_the_discriminator_learns_to_tell_separable_domains_apart(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(spec)
    adam = torch.optim.Adam(method.parameters(), lr=1e-2)
    first = method.losses(network, batch, 0.0)
    for _ in range(40):
        adam.zero_grad()
        last = method.losses(network, batch, 0.0)
        last["domain"].backward()
        adam.step()
    assert last["domain"] < 0.5 * first["domain"]
    assert last["domain_accuracy"] > 0.95
    assert not last["domain_accuracy"].requires_grad


def test_domains_without_a_difference_are_told_apart_by_chance(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    losses = make(spec).losses(network, batch._replace(target=batch.image), 0.0)
    assert losses["domain_accuracy"].item() == 0.5


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({}, 1),
        ({"encoder_levels": 2}, 2),
        ({"encoder_levels": 9}, 3),
        ({"decoder_weight": 0.1}, 3),
        ({"weight": 0.0}, 0),
    ],
)
def test_only_levels_with_a_weight_have_a_discriminator(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, keys: dict[str, float], count: int
) -> None:
    method = make(spec, **keys)
    assert len(method.discriminators) == count
    losses = method.losses(network, batch, 0.5)
    expected = losses["segmentation"] + 2 * count * losses["domain"]
    torch.testing.assert_close(losses["loss"], expected)


def test_no_discriminator_has_statistics(spec: NetworkSpec) -> None:
    assert not list(make(spec, encoder_levels=9).buffers())
