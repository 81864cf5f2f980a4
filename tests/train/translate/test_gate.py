"""The gate: each reading by hand, in [0, 1], without a gradient to what is compared; its running medians."""

from dataclasses import replace
from math import exp
from typing import get_args

import pytest
import torch

from dmn_train.translate.gate import (
    Compared,
    Gate,
    inconsistency,
    pull_open,
    seen_by_gate,
    self_similarity,
    similarity_distance,
)
from dmn_train.translate.options import ContrastSpec, Reading
from dmn_train.translate.sobel import sobel_magnitude

CONTRAST = ContrastSpec(stages=(0, 2), width=3)
WEIGHT = torch.tensor([[1.0, 0.7, 0.3]])


def gate(reading: Reading) -> Gate:
    torch.manual_seed(0)
    return Gate(reading, CONTRAST)


def compared(*, grad: bool = False) -> Compared:
    """Return one row of three numbers and what became of it, at all three places."""
    before = torch.full((1, 1, 1, 3), 1.0, requires_grad=grad)
    after = torch.tensor([[[[1.0, 3.0, 3.0]]]], requires_grad=grad)
    vectors = torch.eye(3)[None].clone()
    return Compared(
        before,
        after,
        torch.tensor([[0, 1, 2]]),
        WEIGHT,
        vectors.clone().requires_grad_(grad),
        vectors.flip(1).requires_grad_(grad),
    )


# 1 1 1 becomes 1 3 3. Of 1 and 3 the share is 2 * 1 / (1 + 3) = 1/2, of like numbers 1. As the rim is
# repeated, a place has its left neighbour 3 times, its right one 3 times and itself twice.
DISTANCES = torch.tensor([[1.5, 1.5, 0.0]])
KAPPA = 1.5  # the median
CONSISTENCY = torch.tensor([[exp(-1.0), exp(-1.0), 1.0]])


def test_distances_by_hand() -> None:
    look = compared()
    torch.testing.assert_close(similarity_distance(look.before, look.after, look.places), DISTANCES)


@pytest.mark.parametrize(
    ("after", "expected"),
    [([1.0, 3.0, 3.0], 0.0), ([1.0, 3.0, 5.0], 0.5), ([2.0, 6.0, 10.0], 0.5), ([1.0, 99.0, 1.0], 1.0)],
)
def test_inconsistency_by_hand(after: list[float], expected: float) -> None:
    """Places of 1 3 3 differ by 3, 1.5 and 1.5; 3 and 5 have a share of 3 / 4, a change of 0.75."""
    before = torch.tensor([[[[1.0, 3.0, 3.0]]]], requires_grad=True)
    found = inconsistency(before, torch.tensor(after).view(1, 1, 1, 3), torch.tensor([[0, 1, 2]]))
    assert found.item() == pytest.approx(expected)
    assert not found.requires_grad


def test_where_all_places_are_alike_any_change_is_all_and_none_is_none() -> None:
    look = compared()
    assert inconsistency(look.before, look.after, look.places).item() == 1.0
    assert inconsistency(look.before, look.before, look.places).item() == 0.0


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("none", torch.ones(1, 3)),
        ("foreground", WEIGHT),
        ("consistency", CONSISTENCY),
        ("rule", CONSISTENCY * WEIGHT),
        ("inverted", (1.0 - CONSISTENCY) * WEIGHT),
    ],
)
def test_each_reading_by_hand(reading: Reading, expected: torch.Tensor) -> None:
    torch.testing.assert_close(gate(reading)(compared(), 1), expected)


def test_the_learned_gate_is_a_network_of_product_difference_and_weight() -> None:
    learned, look = gate("learned"), compared()
    told = torch.tensor([[[0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.7]]])
    expected = learned.learned[1](told)[..., 0].sigmoid()
    torch.testing.assert_close(learned(look, 1)[:, :2], expected)
    assert len(learned.learned) == 2
    assert not gate("rule").learned


@pytest.mark.parametrize("reading", get_args(Reading))
def test_it_lies_in_0_to_1_whatever_it_sees(reading: Reading) -> None:
    random = torch.Generator().manual_seed(1)
    gates = gate(reading)
    for step in range(4):
        before, after = (10.0**step * torch.randn(2, 5, 6, 7, generator=random) for _ in range(2))
        places = torch.randint(42, (2, 30), generator=random)
        vectors = [torch.randn(2, 30, 3, generator=random) for _ in range(2)]
        weight = torch.rand(2, 30, generator=random)
        found = gates(Compared(before, after, places, weight, *vectors), step % 2)
        assert found.shape == (2, 30)
        assert found.isfinite().all()
        assert found.min() >= 0.0
        assert found.max() <= 1.0


@pytest.mark.parametrize("reading", get_args(Reading))
def test_no_gradient_passes_it(reading: Reading) -> None:
    look = compared(grad=True)
    gates = gate(reading)(look, 1)
    if reading != "learned":
        assert not gates.requires_grad
        return
    gates.sum().backward()
    assert all(part.grad is None for part in (look.before, look.after, look.keys, look.queries))


def test_a_learned_gate_learns_to_close_hard_places_and_is_pulled_open() -> None:
    learned, look = gate("learned"), compared()
    gates = learned(look, 0)
    (gates * torch.tensor([[9.0, 0.0, 0.0]])).sum().backward()
    assert all(weight.grad is not None for weight in learned.learned[0].parameters())
    assert pull_open(torch.tensor([[0.1, 0.3]])).item() == pytest.approx(0.1 * 0.3**2)
    assert pull_open(torch.full((2, 2), 0.5)).item() == 0.0


def test_places_that_did_not_change_are_open() -> None:
    look = compared()
    assert torch.equal(gate("consistency")(replace(look, after=look.before), 0), torch.ones(1, 3))


def test_the_running_median_of_each_stage() -> None:
    gates, look = gate("rule"), compared()
    gates(look, 1)
    assert gates.kappa.tolist() == [0.0, KAPPA]
    assert gates.seen.tolist() == [0, 1]
    gates(replace(look, after=look.before), 1)  # a median of 0
    assert gates.kappa[1].item() == pytest.approx(0.9 * KAPPA)
    gates(look, 1)
    assert gates.kappa[1].item() == pytest.approx(0.9 * (0.9 * KAPPA) + 0.1 * KAPPA)
    assert gates.seen.tolist() == [0, 3]


def test_outside_of_training_the_median_stays() -> None:
    gates, look = gate("rule"), compared()
    gates(look, 0)
    found = gates.eval()(replace(look, after=3.0 - look.after), 0)
    assert found.isfinite().all()
    assert gates.kappa[0].item() == KAPPA


def test_the_medians_are_part_of_the_state_and_go_on_in_the_same_bits() -> None:
    first, look = gate("rule"), compared()
    first(look, 0)
    again = gate("rule")
    again.load_state_dict(first.state_dict())
    assert set(first.state_dict()) == {"kappa", "seen"}
    more = replace(look, after=look.after.flip(3) + 0.5)
    assert torch.equal(first(more, 0), again(more, 0))
    assert torch.equal(first.kappa, again.kappa)


def test_self_similarity_of_vectors_is_their_cosine() -> None:
    feature = torch.zeros(1, 2, 3, 3)
    feature[0, 0] = 1.0
    feature[0, :, 0, 0] = torch.tensor([0.0, 5.0])
    feature[0, :, 1, 2] = torch.tensor([3.0, 4.0])
    found = self_similarity(feature, torch.tensor([[4]]))[0, 0]
    # Neighbours row by row, the place itself left out.
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 1.0, 1.0, 0.6, 1.0, 1.0, 1.0]))


def test_a_gain_leaves_self_similarity_as_it_is() -> None:
    random = torch.Generator().manual_seed(2)
    places = torch.randint(36, (1, 10), generator=random)
    for channels in (1, 4):
        feature = torch.rand(1, channels, 6, 6, generator=random)
        torch.testing.assert_close(self_similarity(5.0 * feature, places), self_similarity(feature, places))


def test_nothing_beside_nothing_is_finite() -> None:
    assert self_similarity(torch.zeros(1, 1, 3, 3), torch.tensor([[4]])).isfinite().all()
    assert self_similarity(torch.zeros(1, 2, 3, 3), torch.tensor([[4]])).isfinite().all()


def test_of_the_image_the_steepness_of_the_middle_slice_is_seen() -> None:
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(seen_by_gate(image, 0), sobel_magnitude(image[:, 1:2]))
    assert seen_by_gate(image, 2) is image
