"""What the memory takes in and when, and what it makes of a teacher's labels, by hand."""

import copy
import json

import pytest
import torch
from torch import Tensor

from dmn_train.domains import DomainNetwork
from dmn_train.memory.structure import NO_CLASS
from dmn_train.methods.dismemnet_parts.prototype_memory import PrototypeMemory, Rows, refined_labels, together
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.sections import MemorySection, PseudoLabelSection

TEACHER = torch.tensor([0.9, 0.6, 0.2, 0.05]).view(1, 1, 1, 1, 4)
MEMORY = torch.tensor([2.0, -1.0, 1.0, -3.0]).view(1, 1, 1, 4)
PRODUCT = [0.985185, 0.355595, 0.404610, 0.002614]
AS_THEY_ARE = [0.9, 0.6, 0.2, 0.05]
EVERY_PIXEL = PseudoLabelSection(keep=1.0, agreement=False)


@pytest.mark.parametrize(
    ("rule", "labels", "weights"),
    [
        ("none", AS_THEY_ARE, [1.0, 1.0, 1.0, 1.0]),
        ("multiply", PRODUCT, [1.0, 1.0, 1.0, 1.0]),
        ("disagreement_ignore", AS_THEY_ARE, [1.0, 0.0, 0.0, 1.0]),
        ("multiply_and_ignore", PRODUCT, [1.0, 0.0, 0.0, 1.0]),
    ],
)
def test_labels_are_refined_by_the_rule(rule: str, labels: list[float], weights: list[float]) -> None:
    memory = MemorySection.model_validate_json(json.dumps({"refine": rule, "first_power": 1.0}))
    made, agreement = refined_labels(TEACHER.clone().requires_grad_(), MEMORY, memory, EVERY_PIXEL, 0.0)
    assert not made.labels.requires_grad
    assert not made.weights.requires_grad
    torch.testing.assert_close(made.labels.flatten(), torch.tensor(labels), atol=1e-5, rtol=0)
    assert made.weights.flatten().tolist() == weights
    assert float(made.trust) == sum(weights) / 4
    assert float(agreement) == 0.5


def test_every_view_is_multiplied_before_views_are_compared_and_averaged() -> None:
    """Of odds of 9 and 3/2 over e come 3.311 and 0.552, of 9 and 2/3 times e 24.46 and 1.812."""
    views = torch.tensor([[0.9, 0.9], [0.6, 0.4]]).view(2, 1, 1, 1, 2)
    logit = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
    memory = MemorySection(refine="multiply", first_power=1.0)
    made, _ = refined_labels(views, logit, memory, PseudoLabelSection(keep=1.0), 0.0)
    expected = torch.tensor([0.768031 + 0.355595, 0.960729 + 0.644403]) / 2
    torch.testing.assert_close(made.labels.flatten(), expected, atol=1e-5, rtol=0)
    assert made.weights.flatten().tolist() == [0.0, 1.0]


def test_what_is_certain_may_count_in_place_of_what_is_most_certain() -> None:
    memory = MemorySection(refine="multiply", counts="certainty", first_power=1.0, least=0.8)
    made, _ = refined_labels(TEACHER, MEMORY, memory, EVERY_PIXEL, 0.0)
    expected = torch.tensor([0.8888, 0.0, 0.0, 0.9738])
    torch.testing.assert_close(made.weights.flatten(), expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(made.trust, expected.sum() / 4, atol=2e-4, rtol=0)


def test_the_power_rises_over_the_run_and_an_ignorant_memory_changes_nothing() -> None:
    memory = MemorySection(refine="multiply", first_power=0.0, last_power=1.0)
    first, _ = refined_labels(TEACHER, MEMORY, memory, EVERY_PIXEL, 0.0)
    torch.testing.assert_close(first.labels, TEACHER[0])
    last, _ = refined_labels(TEACHER, MEMORY, memory, EVERY_PIXEL, 1.0)
    torch.testing.assert_close(last.labels.flatten(), torch.tensor(PRODUCT), atol=1e-5, rtol=0)
    ignorant, agreement = refined_labels(TEACHER, 0.0 * MEMORY, MemorySection(), EVERY_PIXEL, 1.0)
    torch.testing.assert_close(ignorant.labels, TEACHER[0])
    assert float(agreement) == float(ignorant.trust) == 1.0


@pytest.fixture
def features(network: DomainNetwork) -> Features:
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return network.target_features(image)


def mask_of(features: Features) -> Tensor:
    mask = torch.zeros_like(features.logits)
    mask[:, :, :8, :8] = 1.0
    return mask


def make(spec: NetworkSpec, kind: str) -> PrototypeMemory:
    torch.manual_seed(4)
    section = {"kind": kind, "classes": 2, "slots": 2, "width": 8}
    return PrototypeMemory(MemorySection.model_validate_json(json.dumps(section)), spec)


def test_rows_are_cells_of_4_px_and_what_does_not_count_has_no_class(
    spec: NetworkSpec, features: Features
) -> None:
    memory, mask = make(spec, "persistent"), mask_of(features)
    rows = memory.rows(features, mask, torch.ones_like(mask))
    assert rows.vectors.shape == (32, 8)
    corner = [0, 1, 4, 5]
    assert [int(rows.classes[cell]) for cell in corner] == [0] * 4
    assert int((rows.classes == 1).sum()) == 24
    counts = torch.ones_like(mask)
    counts[:, :, :4, :4] = 0.0
    fewer = memory.rows(features, mask, torch.ones_like(mask), counts)
    assert [int(fewer.classes[cell]) for cell in corner] == [NO_CLASS, 0, 0, 0]
    both = together([rows, fewer])
    assert both.vectors.shape == (64, 8)
    assert both.classes.shape == (64,)


@pytest.mark.parametrize(("kind", "asked", "left"), [("batch", True, True), ("persistent", False, True)])
def test_a_memory_of_each_batch_learns_before_it_is_asked_and_one_that_lasts_after(
    spec: NetworkSpec, features: Features, kind: str, asked: bool, left: bool
) -> None:
    memory, mask = make(spec, kind), mask_of(features)
    rows = memory.rows(features, mask, torch.ones_like(mask))
    memory.before(rows, torch.Generator().manual_seed(0))
    assert bool(memory.ask(features).any()) == asked
    before = memory.bank.vectors.clone()
    other = Rows(-rows.vectors, rows.classes)
    memory.after(other, torch.Generator().manual_seed(0))
    assert torch.equal(before, memory.bank.vectors) == (kind == "batch")
    assert bool(memory.ask(features).any()) == left
    assert memory.ask(features).shape == features.logits.shape


def test_the_follower_follows_and_answers(spec: NetworkSpec, features: Features) -> None:
    memory, mask = make(spec, "persistent"), mask_of(features)
    memory.after(memory.rows(features, mask, torch.ones_like(mask)), torch.Generator().manual_seed(0))
    before, state = memory.ask(features), copy.deepcopy(memory.follower.state_dict())
    memory.projector.out.weight.data.neg_()
    assert torch.equal(memory.ask(features), before)
    memory.follow(done=0, decay=0.99)  # of a decay of 1 / 10
    expected = 0.1 * state["out.weight"] + 0.9 * memory.projector.out.weight
    torch.testing.assert_close(memory.follower.out.weight, expected)
    assert not torch.equal(memory.ask(features), before)


def test_it_rings_where_all_prototypes_are_alike(spec: NetworkSpec) -> None:
    memory = make(spec, "persistent")
    assert memory.alarms() == ()
    memory.bank.vectors[:, :, 0] = 1.0
    memory.bank.filled.fill_(True)
    (sentence,) = memory.alarms()
    assert "the memory has collapsed" in sentence
    assert float(memory.told()["memory_cosine"]) == 1.0
