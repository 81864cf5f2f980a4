"""Mean teacher: its loss is the sum in its docstring, and neither teacher nor statistics feel the labels."""

import copy

import pytest
import torch
from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.base import views_of
from dmn_train.methods.mean_teacher import MeanTeacher
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.pseudo_labels import make_pseudo_labels, pseudo_label_loss
from dmn_train.sections import (
    DannSection,
    LossSection,
    MeanTeacherSection,
    ViewsSection,
)
from dmn_train.views import TargetViews, masked_view


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Return the common batch with views: some pixels hidden, a corner pasted."""
    assert batch.target is not None
    generator = torch.Generator().manual_seed(6)
    plain = batch.target + 0.3 * torch.randn(batch.target.shape, generator=generator)
    shown = (torch.rand(batch.truth.shape, generator=generator) < 0.6).float()
    pasted = torch.zeros_like(batch.truth)
    pasted[:, :, :6, :9] = 1.0
    return batch._replace(views=TargetViews(plain, shown, pasted))


def make(network: DomainNetwork, spec: NetworkSpec, most: float | None = None, **keys: object) -> MeanTeacher:
    torch.manual_seed(11)
    method = MeanTeacher(MeanTeacherSection(**keys), LossSection(), spec, most)  # type: ignore[arg-type]
    method.begin(network)
    # Another network than the student, as after some steps.
    for parameter in method.teacher.network.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    # And a decided one, with pixels on either side.
    head = method.teacher.network.network.head
    head.weight.data.mul_(100.0)
    with torch.no_grad():
        logits = method.teacher.network.eval()(1.0 + 0.6 * torch.randn(8, 1, 16, 16))
    assert head.bias is not None
    head.bias.data.sub_(logits.mean())
    return method.train()


def test_the_loss_is_the_sum_of_its_terms(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, spec, strong_weight=0.5, masked_weight=2.0)
    section = MeanTeacherSection().labels
    losses = method.losses(network, batch, progress=1.0)
    views = views_of(batch)
    assert batch.target is not None
    made = make_pseudo_labels(method.teacher.predict(views.plain).views, section)
    assert 0.0 < float(made.foreground_share) < 1.0

    def loss(image: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        logits = network.target_features(image).logits
        return made.trust * pseudo_label_loss(logits, labels, weights, section)

    strong = loss(batch.target, made.labels, made.weights)
    of_source = views.pasted > 0.5
    labels = torch.where(of_source, batch.truth, made.labels)
    weights = torch.where(of_source, batch.valid, made.weights)
    masked = loss(masked_view(batch.target, batch.image, views), labels, weights)
    torch.testing.assert_close(losses["strong"], strong)
    torch.testing.assert_close(losses["masked"], masked)
    torch.testing.assert_close(losses["loss"], losses["segmentation"] + 0.5 * strong + 2.0 * masked)
    assert float(losses["target_fg_share"]) == float(made.foreground_share)
    assert float(losses["confident_share"]) == float(made.confident_share)


def test_the_ramp_weighs_the_target_and_not_the_source(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec, ramp=0.5)
    losses = method.losses(network, batch, progress=0.25)
    expected = losses["segmentation"] + 0.2865048 * (losses["strong"] + losses["masked"])
    torch.testing.assert_close(losses["loss"], expected)


def test_the_teacher_sees_the_plain_view_alone(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec, masked_weight=0.0)
    shares = [
        float(method.losses(network, changed, 1.0)["confident_share"])
        for changed in (
            batch,
            batch._replace(target=torch.zeros_like(batch.image)),
            batch._replace(views=views_of(batch)._replace(plain=4.0 * views_of(batch).plain)),
        )
    ]
    assert shares[0] == shares[1] != shares[2]


def test_no_gradient_reaches_the_teacher_and_all_of_the_network_has_one(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec)
    losses = method.losses(network, batch, 1.0)
    (losses["strong"] + losses["masked"]).backward()
    assert all(p.grad is None and not p.requires_grad for p in method.parameters())
    assert all(p.grad is not None for p in network.parameters())


def test_the_teacher_moves_after_the_step_and_not_before(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec)
    before = copy.deepcopy(method.teacher.state_dict())
    method.losses(network, batch, 1.0)["loss"].backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.teacher.state_dict().items())
    method.after_step(network, 0)  # a decay of 1 / 10
    for name, tensor in method.teacher.network.named_parameters():
        expected = 0.1 * before[f"network.{name}"] + 0.9 * network.state_dict()[name]
        torch.testing.assert_close(tensor, expected)
    mean = "network.down.0.1.running_mean"
    expected = 0.1 * before[f"network.{mean}"] + 0.9 * network.state_dict()[mean]
    torch.testing.assert_close(method.teacher.network.state_dict()[mean], expected)


def test_the_masked_view_leaves_the_running_statistics_alone(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    states = []
    for weight in (1.0, 0.0):
        twin = copy.deepcopy(network)
        losses = make(twin, spec, masked_weight=weight).losses(twin, batch, 1.0)
        assert ("masked" in losses) == (weight > 0.0)
        states.append(dict(twin.named_buffers()))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(
        norm.track_running_stats for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d)
    )


def test_source_and_target_have_statistics_of_their_own(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    twin = copy.deepcopy(network)
    assert batch.target is not None
    make(network, spec).losses(network, batch, 1.0)
    twin.both_features(batch.image, batch.target)
    ours, theirs = dict(network.named_buffers()), dict(twin.named_buffers())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_discriminators_join_in(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    options = DannSection(channels=4, encoder_levels=1, weight=0.5)
    method = make(network, spec, align="dann", dann=options)
    losses = method.losses(network, batch, 0.5)
    assert method.dann is not None
    assert batch.target is not None
    domain, told = method.dann.confusion(*network.both_features(batch.image, batch.target), 0.5)
    torch.testing.assert_close(losses["domain"], told["domain"])
    rest = losses["segmentation"] + losses["strong"] + losses["masked"]
    torch.testing.assert_close(losses["loss"], rest + domain)
    losses["loss"].backward()
    assert all(p.grad is not None for p in method.dann.parameters())
    assert make(network, spec).dann is None


def test_it_rings_where_the_teacher_finds_nothing(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec)
    assert method.teacher.network.network.head.bias is not None
    method.teacher.network.network.head.bias.data.fill_(-50.0)
    method.losses(network, batch, 1.0)
    (sentence,) = method.alarms(0.08)
    assert "little foreground, 0.00%" in sentence


def test_no_view_is_the_strong_view() -> None:
    with pytest.raises(ValueError, match="views changes nothing"):
        MeanTeacherSection(views=ViewsSection(hidden_share=0.0))
    assert MeanTeacherSection(masked_weight=0.0, views=ViewsSection(hidden_share=0.0)).masked_weight == 0.0


def test_the_foreground_has_a_ceiling_where_one_is_wanted(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    free = make(network, spec).losses(network, batch, progress=1.0)
    bounded = make(network, spec, most=0.1).losses(network, batch, progress=1.0)
    assert float(free["target_fg_share"]) > 0.2
    assert "foreground_shift" not in free
    assert 0.0 < float(bounded["target_fg_share"]) <= 0.11
    assert float(bounded["foreground_shift"]) > 0.0
