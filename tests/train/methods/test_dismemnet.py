"""The joint objective: the sum in its docstring, each part at its stage, and mean_teacher without them."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods import dismemnet
from dmn_train.methods.base import Method, target_of, views_of
from dmn_train.methods.dismemnet import Dismemnet
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.dismemnet_parts.prototype_memory import Rows, refined_labels
from dmn_train.methods.mean_teacher import MeanTeacher
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.pseudo_labels import PseudoLabels, make_pseudo_labels
from dmn_train.sections import DismemnetSection, LossSection, MeanTeacherSection, PseudoLabelSection
from dmn_train.views import TargetViews

STEPS = 16  # translation to step 3, bank in 4 and 5, then joint; the generator learns in 0-3, 4 and 8
FACTS = RunFacts(seed=0, steps=STEPS, clip=2.0, trained_start=True)
TRANSLATION, BANK, JOINT = 1 / STEPS, 4 / STEPS, 9 / STEPS
SMALL: dict[str, Any] = {
    "ramp": 0.0,
    "stages": {"translation": 0.25, "bank": 0.125},
    "translation": {
        "base": 2,
        "blocks": 1,
        "discriminator_base": 2,
        "stages": [0, 2, 4],
        "locations": 16,
        "until": 0.75,
        "every": 4,
    },
    "memory": {"slots": 2, "width": 8},
    "labels": {"keep": 1.0, "agreement": False},
}
OFF: dict[str, Any] = {
    "translation": {"kind": "none"},
    "memory": {"kind": "none"},
    "distillation": {"weight": 0.0},
}


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Return the common batch with views and the source as it is: some pixels hidden, a corner pasted."""
    assert batch.target is not None
    generator = torch.Generator().manual_seed(6)
    plain = batch.target + 0.3 * torch.randn(batch.target.shape, generator=generator)
    shown = (torch.rand(batch.truth.shape, generator=generator) < 0.6).float()
    pasted = torch.zeros_like(batch.truth)
    pasted[:, :, :6, :9] = 1.0
    truth = torch.zeros_like(batch.truth)
    truth[:, :, 2:11, 3:13] = 1.0
    source = batch.image.clamp(-2.0, 2.0)
    return batch._replace(truth=truth * batch.valid, views=TargetViews(plain, shown, pasted), plain=source)


def with_options(**keys: Any) -> dict[str, Any]:
    """Return SMALL with keys laid over the tables in it."""
    options = copy.deepcopy(SMALL)
    for name, value in keys.items():
        options[name] = {**options.get(name, {}), **value} if isinstance(value, dict) else value
    return options


def decided(method: Dismemnet | MeanTeacher) -> None:
    """Make the teacher another network than the student, with pixels on either side."""
    torch.manual_seed(12)
    network = method.teacher.network
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    head = network.network.head
    head.weight.data.mul_(100.0)
    with torch.no_grad():
        logits = network.eval()(1.0 + 0.6 * torch.randn(8, 1, 16, 16))
    assert head.bias is not None
    head.bias.data.sub_(logits.mean())


def make(network: DomainNetwork, spec: NetworkSpec, **keys: Any) -> Dismemnet:
    torch.manual_seed(11)
    section = DismemnetSection.model_validate_json(json.dumps(with_options(**keys)))
    method = Dismemnet(section, LossSection(), spec, FACTS, None)
    method.begin(network)
    decided(method)
    return method.train()


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("keys", "most"), [({"align": "none"}, None), ({"align": "dann"}, None), ({}, 0.1)])
def test_without_its_parts_it_is_mean_teacher_to_the_bit(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, keys: dict[str, Any], most: float | None
) -> None:
    section = DismemnetSection.model_validate_json(json.dumps({**OFF, **keys}))
    plain = MeanTeacherSection.model_validate_json(json.dumps(keys))
    makers: tuple[Callable[[], MeanTeacher | Dismemnet], ...] = (
        lambda: MeanTeacher(plain, LossSection(), spec, most),
        lambda: Dismemnet(section, LossSection(), spec, FACTS, most),
    )
    results = []
    for make_one in makers:
        student = copy.deepcopy(network)
        torch.manual_seed(11)
        method = make_one()
        method.begin(student)
        decided(method)
        results.append(three_steps(student, method, batch))
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def three_steps(student: DomainNetwork, method: Method, batch: Batch) -> dict[str, Tensor]:
    """Return everything that is known after three steps, the losses of the last among it."""
    learned = [p for module in (student, method) for p in module.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(learned, lr=1e-2)
    losses: dict[str, Tensor] = {}
    for step in range(3):
        method.train()
        losses = method.losses(student, batch, step / STEPS)
        adam.zero_grad()
        losses["loss"].backward()
        adam.step()
        method.after_step(student, step)
    return {**losses, **student.state_dict(), **{f"m.{k}": v for k, v in method.state_dict().items()}}


def test_the_loss_is_the_sum_of_its_terms(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    options: dict[str, Any] = {
        "ramp": 1.0,
        "strong_weight": 0.5,
        "masked_weight": 2.0,
        "translation": {"weight": 0.7},
        "memory": {"contrast": 0.3, "refine": "none"},
        "distillation": {"weight": 0.4},
    }
    method = make(network, spec, **options)
    method.losses(network, batch, BANK)
    losses = method.losses(network, batch, 0.5)
    rise = 0.2865048  # exp(-5 / 4)
    # All pixels count, so the batch does, wholly.
    under_ramp = (
        0.5 * losses["strong"] + 2.0 * losses["masked"] + 0.4 * losses["distil"] + 0.3 * losses["contrast"]
    )
    expected = losses["segmentation"] + 0.7 * losses["translated"] + rise * under_ramp + losses["translation"]
    torch.testing.assert_close(losses["loss"], expected)
    assert float(losses["contrast"].detach()) > 0.0
    at_rest = method.losses(network, batch, JOINT)
    assert "translation" not in at_rest
    assert "gate" not in at_rest


def test_distillation_counts_as_much_as_the_labels_do(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    alone = {**OFF, "distillation": {"weight": 0.4}, "strong_weight": 0.0, "masked_weight": 0.0}
    method = make(network, spec, **alone, labels={"keep": 0.5})
    losses = method.losses(network, batch, JOINT)
    made = make_pseudo_labels(
        method.teacher.predict(views_of(batch).plain).views, PseudoLabelSection(keep=0.5, agreement=False)
    )
    assert 0.4 < float(made.trust) < 0.6
    torch.testing.assert_close(losses["loss"], losses["segmentation"] + 0.4 * made.trust * losses["distil"])


def keys_at(method: Dismemnet, network: DomainNetwork, batch: Batch, progress: float) -> set[str]:
    found = set(method.losses(network, batch, progress))
    parts = {"translated", "translation", "distil", "contrast", "memory_agreement"}
    return found & parts


def test_each_part_comes_in_at_its_stage(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, spec)
    assert method.memory is not None
    assert keys_at(method, network, batch, TRANSLATION) == {"translation"}
    assert not method.memory.bank.filled.any()
    assert keys_at(method, network, batch, BANK) == {"translation", "translated", "contrast"}
    assert method.memory.bank.filled.any()
    joint = {"translated", "contrast", "distil", "memory_agreement"}
    assert keys_at(method, network, batch, JOINT) == joint


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        ({"translation": {"kind": "none"}}, {"translated", "translation"}),
        ({"translation": {"kind": "histogram"}}, {"translation"}),
        ({"memory": {"kind": "none"}}, {"contrast", "memory_agreement"}),
        ({"memory": {"kind": "batch"}}, set()),
        ({"memory": {"refine": "none"}}, {"memory_agreement"}),
        ({"distillation": {"weight": 0.0}}, {"distil"}),
    ],
)
def test_each_part_can_be_switched_off(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, keys: dict[str, Any], gone: set[str]
) -> None:
    everything = {"translated", "translation", "distil", "contrast", "memory_agreement"}
    assert keys_at(make(network, spec, **keys), network, batch, 0.5) == everything - gone


@pytest.mark.parametrize("term", ["output", "attention", "side"])
def test_each_term_of_the_distillation_can_be_switched_off(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, term: str
) -> None:
    losses = make(network, spec, distillation={term: 0.0}).losses(network, batch, JOINT)
    found = {name for name in losses if name.startswith("distil_")}
    assert found == {f"distil_{other}" for other in ("output", "attention", "side") if other != term}


def test_a_histogram_serves_from_the_first_step_and_is_what_was_drawn(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec, translation={"kind": "histogram"})
    twin = copy.deepcopy(network)
    losses = method.losses(network, batch, 0.0)
    assert batch.plain is not None
    logits = twin.target_features(batch.plain).logits
    expected = segmentation_loss(logits, batch.truth, batch.valid, LossSection())["segmentation"]
    torch.testing.assert_close(losses["translated"], expected)
    assert method.rates() == ()


def test_the_translation_teaches_the_network_nothing(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    found = []
    for keys in ({}, OFF):
        student = copy.deepcopy(network)
        method = make(student, spec, **keys)
        method.losses(student, batch, TRANSLATION)["loss"].backward()
        found.append(gradients(student))
        assert bool(gradients(method)) == (method.translation is not None)
    assert found[0].keys() == found[1].keys() == dict(network.named_parameters()).keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_student_that_waits_stays_as_it_is(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, spec, stages={"student_waits": True})
    before = copy.deepcopy(network.state_dict())
    losses = method.losses(network, batch, TRANSLATION)
    losses["loss"].backward()
    assert not gradients(network)
    assert gradients(method)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert "segmentation" not in losses
    assert "segmentation" in method.losses(network, batch, BANK)


def test_what_rises_begins_where_the_wait_ends(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def ramp(progress: float, until: float) -> float:
        asked.append(progress)
        return until

    def refined(*given: Any) -> Any:
        asked.append(given[-1])
        return refined_labels(*given)

    monkeypatch.setattr(dismemnet, "ramp", ramp)
    monkeypatch.setattr(dismemnet, "refined_labels", refined)
    method = make(network, spec, stages={"student_waits": True})
    method.losses(network, batch, BANK)
    method.losses(network, batch, JOINT)
    # After 4 steps of 16 it waits no longer; after 9 it has taken part in 5 of its 12.
    assert asked == pytest.approx([0.0, 5 / 12, 5 / 12])


def test_all_that_is_to_learn_does_and_no_average_has_a_gradient(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec, align="dann", dann={"channels": 4, "encoder_levels": 1})
    method.losses(network, batch, BANK)
    method.losses(network, batch, 0.5)["loss"].backward()
    assert all(p.grad is not None for p in network.parameters())
    frozen = ("teacher.", "translation.generator_average.", "translation.judge.", "memory.follower.")
    for name, parameter in method.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == (not name.startswith(frozen)), name


def test_running_statistics_are_those_of_the_domains_own_crops(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    found = []
    for keys in ({}, OFF):
        student = copy.deepcopy(network)
        make(student, spec, **keys).losses(student, batch, 0.5)
        found.append(dict(student.named_buffers()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_nothing_but_seed_and_step_decides(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    results = []
    for seed in (1, 2):
        student = copy.deepcopy(network)
        method = make(student, spec)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        method.losses(student, batch, BANK)
        results.append(method.losses(student, batch, 0.5))
        assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_averages_move_after_the_step_and_the_generators_where_the_generator_learned(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(network, spec)
    assert method.translation is not None
    assert method.memory is not None
    method.losses(network, batch, JOINT)
    followers = (method.teacher, method.translation.generator_average, method.memory.follower)
    for tensor in (
        *network.parameters(),
        *method.translation.translator.parameters(),
        *method.memory.projector.parameters(),
    ):
        tensor.data.add_(0.5)
    moved = []
    for done in (9, 8):
        before = [copy.deepcopy(follower.state_dict()) for follower in followers]
        method.after_step(network, done)
        moved.append(
            [
                any(not torch.equal(tensor, old[name]) for name, tensor in follower.state_dict().items())
                for follower, old in zip(followers, before, strict=True)
            ]
        )
    assert moved == [[True, False, True], [True, True, True]]


def test_all_parts_ring(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(network, spec)
    assert method.translation is not None
    assert method.memory is not None
    head = method.teacher.network.network.head
    assert head.bias is not None
    head.bias.data.fill_(-50.0)
    method.losses(network, batch, JOINT)
    method.translation.watched.note("gate", torch.tensor(0.0))
    method.memory.bank.vectors[:, :, 0] = 100.0
    labels, gate, memory = method.alarms(0.08)
    assert "little foreground" in labels
    assert "gate of the translation has closed" in gate
    assert "the memory has collapsed" in memory


def test_refined_labels_are_what_is_learned_from(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    """A memory that calls everything foreground, at full power, leaves no other label."""
    method = make(network, spec, memory={"refine": "multiply", "first_power": 50.0, "last_power": 50.0})
    assert method.memory is not None
    method.memory.ask = lambda features: torch.ones_like(features.logits)  # type: ignore[method-assign]
    losses = method.losses(network, batch, JOINT)
    assert float(losses["target_fg_share"]) > 0.99
    plain = make(network, spec, memory={"refine": "none"}).losses(network, batch, JOINT)
    assert float(plain["target_fg_share"]) < 0.9


def test_the_memory_is_asked_about_the_teachers_features_of_the_plain_crops(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method, asked = make(network, spec), list[Features]()
    assert method.memory is not None

    def ask(features: Features) -> Tensor:
        asked.append(features)
        return torch.zeros_like(features.logits)

    method.memory.ask = ask  # type: ignore[method-assign]
    method.losses(network, batch, JOINT)
    (features,) = asked
    expected = method.teacher.predict(views_of(batch).plain).features
    assert all(map(torch.equal, features.decoder, expected.decoder))
    assert torch.equal(features.logits, expected.logits)


def test_of_the_target_the_bank_learns_the_refined_labels_that_count(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, refined, learned = make(network, spec), list[PseudoLabels](), list[Rows]()
    assert method.memory is not None

    def noted(*given: Any) -> tuple[PseudoLabels, Tensor]:
        made, agreement = refined_labels(*given)
        refined.append(made)
        return made, agreement

    monkeypatch.setattr(dismemnet, "refined_labels", noted)
    monkeypatch.setattr(method.memory, "after", lambda rows, _: learned.append(rows))
    method.losses(network, batch, BANK)
    method.memory.bank.learn(*learned.pop(), torch.Generator().manual_seed(0))
    student = copy.deepcopy(network)
    method.losses(network, batch, JOINT)
    (made,), (rows,) = refined, learned
    assert 0.0 < float(made.weights.mean()) < 1.0
    target = student.both_features(batch.image, target_of(batch))[1]
    expected = method.memory.rows(target, made.labels, torch.ones_like(made.labels), made.weights)
    assert torch.equal(rows.classes[-len(expected.classes) :], expected.classes)
    torch.testing.assert_close(rows.vectors[-len(expected.vectors) :], expected.vectors)
