"""Inter-section consistency: labels by XOR, the sum in its docstring, and no gradient through labels."""

import copy

import pytest
import torch
from torch import Tensor, nn

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import bce, segmentation_loss
from dmn_train.methods.base import others_of, target_of
from dmn_train.methods.isc import Isc, ResidualHead, pseudo_labels
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.pairs import OtherSections
from dmn_train.sections import DannSection, IscSection, LossSection


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Return the common batch with other sections; some of their pixels are unlabelled."""
    generator = torch.Generator().manual_seed(7)
    image = batch.image + 0.5 * torch.randn(batch.image.shape, generator=generator)
    target = target_of(batch) + 0.5 * torch.randn(batch.image.shape, generator=generator)
    valid = (torch.rand(batch.truth.shape, generator=generator) < 0.8).float()
    truth = (torch.rand(batch.truth.shape, generator=generator) < 0.3).float() * valid
    return batch._replace(others=OtherSections(image, truth, valid, target))


def make(network: DomainNetwork, batch: Batch, spec: NetworkSpec, **keys: object) -> Isc:
    """Return the method; network and head find some foreground on the target, and not only that."""
    torch.manual_seed(11)
    method = Isc(IscSection(**keys), LossSection(), spec)  # type: ignore[arg-type]
    last = method.head.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    assert network.network.head.bias is not None
    with torch.no_grad():
        target = copy.deepcopy(network).target_features(_both(batch)[1])
        network.network.head.bias.sub_(target.logits.median())
        last.bias.sub_(method.head(*target.decoder[0].chunk(2)).median())
    return method.train()


def _both(batch: Batch) -> tuple[Tensor, Tensor]:
    others = others_of(batch)
    return torch.cat([batch.image, others.image]), torch.cat([target_of(batch), others.target])


def test_labels_are_the_other_sections_prediction_where_nothing_differs_and_its_opposite_elsewhere() -> None:
    first, other = [-3.0, -0.1, 2.0, 1.0], [-1.0, 5.0, -2.0, 0.1]
    differs = [-4.0, 0.5, 3.0, -0.5]
    logits = torch.tensor([first, other], requires_grad=True)[:, None, None]
    labels = pseudo_labels(logits, torch.tensor([differs], requires_grad=True)[:, None, None])
    # The other says 0 1 0 1, the first 0 0 1 1, they differ at 0 1 1 0.
    assert labels.flatten(1).tolist() == [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    assert not labels.requires_grad
    wrong = pseudo_labels(logits, torch.full((1, 1, 1, 4), 1.0))
    assert wrong.flatten(1).tolist() == [[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]


def test_the_loss_is_the_sum_of_its_terms(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, batch, spec, weight=0.3, residual_weight=0.7)
    losses = method.losses(network, batch, progress=1.0)
    others = others_of(batch)
    source, target = network.both_features(*_both(batch))
    truth = torch.cat([batch.truth, others.truth])
    segmentation = segmentation_loss(
        source.logits, truth, torch.cat([batch.valid, others.valid]), LossSection()
    )["segmentation"]
    residual = segmentation_loss(
        method.head(*source.decoder[0].chunk(2)),
        (batch.truth - others.truth).abs(),
        batch.valid * others.valid,
        LossSection(),
    )["segmentation"]
    labels = pseudo_labels(target.logits, method.head(*target.decoder[0].chunk(2)))
    assert 0.1 < float(labels.mean()) < 0.9
    halves = [
        bce(logits, label, torch.ones_like(label))
        for logits, label in zip(target.logits.chunk(2), labels.chunk(2), strict=True)
    ]
    consistency = (halves[0] + halves[1]) / 2.0
    torch.testing.assert_close(losses["segmentation"], segmentation)
    torch.testing.assert_close(losses["residual"], residual)
    torch.testing.assert_close(losses["consistency"], consistency)
    torch.testing.assert_close(losses["loss"], segmentation + 0.7 * residual + 0.3 * consistency)
    assert losses["target_fg_share"] == labels.mean()
    said = (target.logits > 0).float()
    assert losses["contradicted_share"] == (labels != said).float().mean()
    assert 0.0 < float(losses["residual_share"]) < 1.0


def test_the_ramp_weighs_the_target_and_not_the_source(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    losses = make(network, batch, spec, ramp=0.5, weight=2.0).losses(network, batch, progress=0.25)
    expected = losses["segmentation"] + 0.5 * losses["residual"] + 2.0 * 0.2865048 * losses["consistency"]
    torch.testing.assert_close(losses["loss"], expected)


def test_no_gradient_goes_through_the_labels(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, batch, spec)
    twin = copy.deepcopy(network)
    method.losses(network, batch, 1.0)["consistency"].backward()
    assert all(p.grad is None for p in method.parameters())
    target = twin.target_features(_both(batch)[1])
    constant = pseudo_labels(target.logits, method.head(*target.decoder[0].chunk(2))).clone()
    bce(target.logits, constant, torch.ones_like(constant)).backward()
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_all_learn_from_the_source(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, batch, spec)
    method.losses(network, batch, 0.0)["residual"].backward()
    assert all(p.grad is not None for p in method.parameters())
    assert network.network.down[0][0].weight.grad is not None


def test_what_differs_counts_where_both_sections_are_labelled(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, batch, spec)
    before = method.losses(copy.deepcopy(network), batch, 1.0)["residual"]
    unlabelled = others_of(batch).valid == 0.0
    truth = torch.where(unlabelled, 1.0 - batch.truth, batch.truth)
    changed = method.losses(copy.deepcopy(network), batch._replace(truth=truth), 1.0)["residual"]
    assert unlabelled.any()
    torch.testing.assert_close(changed, before)


def test_the_head_does_not_know_which_section_is_the_first() -> None:
    torch.manual_seed(2)
    head = ResidualHead(3)
    one, two = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    assert head(one, two).shape == (2, 1, 8, 8)
    assert torch.equal(head(one, two), head(two, one))
    assert not torch.allclose(head(one, two), head(one, one))


@pytest.mark.parametrize("two_domains", [True, False])
def test_each_domain_is_one_batch_of_both_sections(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, two_domains: bool
) -> None:
    ours = DomainNetwork(network.network, two_domains=two_domains)
    method = make(ours, batch, spec)
    twin = copy.deepcopy(ours)
    method.losses(ours, batch, 1.0)
    twin.both_features(*_both(batch))
    mine, theirs = dict(ours.named_buffers()), dict(twin.named_buffers())
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_slices_of_context_are_welcome(batch: Batch) -> None:
    spec = NetworkSpec(base=2, levels=2, context_slices=1)
    others = others_of(batch)
    wide = batch._replace(
        image=batch.image.expand(-1, 3, -1, -1),
        target=target_of(batch).expand(-1, 3, -1, -1),
        others=others._replace(
            image=others.image.expand(-1, 3, -1, -1), target=others.target.expand(-1, 3, -1, -1)
        ),
    )
    torch.manual_seed(3)
    network = DomainNetwork(UNet(spec), two_domains=True).train()
    assert torch.isfinite(make(network, wide, spec).losses(network, wide, 1.0)["loss"])


def test_discriminators_join_in(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    options = DannSection(channels=4, encoder_levels=1, weight=0.5)
    method = make(network, batch, spec, align="dann", dann=options)
    losses = method.losses(network, batch, 1.0)
    assert method.dann is not None
    domain, told = method.dann.confusion(*network.both_features(*_both(batch)), 1.0)
    torch.testing.assert_close(losses["domain"], told["domain"])
    rest = losses["segmentation"] + 0.5 * losses["residual"] + IscSection().weight * losses["consistency"]
    torch.testing.assert_close(losses["loss"], rest + domain)
    assert make(network, batch, spec).dann is None


def test_it_rings_where_labels_hold_no_foreground(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, batch, spec)
    share = method.losses(network, batch, 1.0)["target_fg_share"]
    assert method.watch.means.of("foreground_share") == share
    assert method.alarms(0.3) == ()
    for part in (network.network.head, method.head.layers[-1]):
        assert isinstance(part, nn.Conv2d)
        assert part.bias is not None
        part.bias.data.fill_(-50.0)
    for _ in range(50):
        method.watch.note(torch.zeros(()), torch.ones(()))
    method.losses(network, batch, 1.0)
    (sentence,) = method.alarms(0.3)
    assert "little foreground" in sentence
