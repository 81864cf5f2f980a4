"""k-means on the sphere, and cosines with slots."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.options import BankSpec
from dmn_train.memory.prototypes import Prototypes, cosines, prototypes_of, spherical_kmeans, sums_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bundles(count: int, each: int, width: int = 8) -> tuple[Tensor, Tensor]:
    """Return unit vectors near `count` axes, shuffled, and the axis of each."""
    generator = seeded(3)
    axis = torch.arange(count).repeat(each)[torch.randperm(count * each, generator=generator)]
    noise = 0.05 * torch.randn(len(axis), width, generator=generator)
    return functional.normalize(torch.eye(width)[axis] + noise, dim=1), axis


def test_kmeans_finds_bundles_and_their_directions() -> None:
    rows, axis = bundles(4, 25)
    centres = spherical_kmeans(rows, 4, 20, seeded())
    found = centres[:, :4].argmax(dim=1)
    assert sorted(found.tolist()) == [0, 1, 2, 3]
    for centre, number in zip(centres, found, strict=True):
        torch.testing.assert_close(centre, functional.normalize(rows[axis == number].sum(dim=0), dim=0))


def test_kmeans_is_a_function_of_the_generators_seed() -> None:
    rows = functional.normalize(torch.randn(200, 6, generator=seeded(7)), dim=1)
    first, again, other = (spherical_kmeans(rows, 5, 3, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(5))


def test_there_are_no_more_centres_than_different_vectors() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert sorted(spherical_kmeans(rows, 8, 20, seeded()).tolist()) == [[0.0, 1.0], [1.0, 0.0]]
    # The cosine of this vector with itself is 1 - 1.2e-7 in float32.
    rounded = functional.normalize(torch.tensor([[1.0, 2.0, 3.0]]), dim=1).repeat(4, 1)
    assert len(spherical_kmeans(rounded, 8, 20, seeded())) == 1
    assert spherical_kmeans(rows[:0], 8, 20, seeded()).shape == (0, 2)


def test_each_class_has_centres_of_its_own_vectors_and_empty_slots_else() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    made = prototypes_of(rows, torch.tensor([0, 0, 2, -1]), 3, BankSpec(slots=2, width=2), seeded())
    assert made.filled.tolist() == [[True, True], [False, False], [True, False]]
    assert sorted(made.vectors[0].tolist()) == [[0.0, 1.0], [1.0, 0.0]]
    assert made.vectors[2].tolist() == [[-1.0, 0.0], [0.0, 0.0]]


def test_empty_slots_are_like_nothing() -> None:
    held = Prototypes(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.0, 0.0]]]),
        torch.tensor([[True, True], [True, False]]),
    )
    rows = torch.tensor([[0.8, 0.6]], requires_grad=True)
    got = cosines(rows, held)
    torch.testing.assert_close(got, torch.tensor([[[0.8, 0.6], [0.96, -torch.inf]]]))
    assert not got.requires_grad


def test_sums_by_place_leave_out_rows_without_one() -> None:
    total, hits = sums_of(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([1, -1, 1]), 2)
    assert total.tolist() == [[0.0, 0.0], [6.0, 8.0]]
    assert hits.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("clusters", [1, 5])
def test_kmeans_under_autocast_is_that_without(clusters: int) -> None:
    rows = functional.normalize(torch.randn(300, 6, generator=seeded(7)), dim=1)
    plain = spherical_kmeans(rows, clusters, 5, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spherical_kmeans(rows, clusters, 5, seeded()), plain)
