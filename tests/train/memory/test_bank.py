"""The bank's updates against an example worked out by hand."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.bank import Bank
from dmn_train.memory.options import BankSpec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bank(slots: list[list[list[float]]], **keys: float) -> Bank:
    """Return a bank of those slots, momentum 0.5 unless told; a slot of zeros is empty."""
    vectors = torch.tensor(slots)
    classes, count, width = vectors.shape
    settings = {"first_momentum": 0.5, "last_momentum": 0.5, **keys}
    made = Bank(classes, BankSpec(slots=count, width=width, **settings))  # type: ignore[arg-type]
    made.vectors.copy_(vectors)
    made.filled.copy_(vectors.norm(dim=2) > 0)
    return made


def unit(*rows: list[float]) -> Tensor:
    return functional.normalize(torch.tensor(rows), dim=1)


def test_slots_move_towards_the_mean_of_the_vectors_nearest_to_them() -> None:
    made = bank([[[1.0, 0.0], [0.0, 1.0]]])
    made.update(torch.tensor([[0.8, 0.6], [0.96, 0.28], [0.6, 0.8]]), torch.zeros(3, dtype=torch.int64))
    # Two vectors go to the first slot, mean (0.88, 0.44): (1 + 0.88, 0 + 0.44) / 2 at length 1.
    # One goes to the second: (0 + 0.6, 1 + 0.8) / 2 at length 1.
    expected = torch.stack([torch.tensor([0.94, 0.22]) / 0.932**0.5, torch.tensor([0.3, 0.9]) / 0.9**0.5])
    torch.testing.assert_close(made.vectors[0], expected)
    assert int(made.updates) == 1


def test_momentum_is_the_share_of_what_was_there() -> None:
    made = bank([[[0.0, 1.0]]], first_momentum=0.75, last_momentum=0.75)
    made.update(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    # 3/4 (0, 1) + 1/4 (0.6, 0.8), at length 1.
    torch.testing.assert_close(made.vectors[0, 0], torch.tensor([0.15, 0.95]) / 0.925**0.5)


def test_vectors_go_to_slots_of_their_own_class_alone() -> None:
    made = bank([[[1.0, 0.0]], [[0.0, 1.0]]])
    made.update(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, -1]))
    torch.testing.assert_close(made.vectors, torch.stack([unit([1.0, 1.0]), unit([0.0, 1.0])]))


def test_slots_without_a_vector_stay() -> None:
    made = bank([[[1.0, 0.0], [0.0, 1.0]]], first_momentum=0.0, last_momentum=0.0)
    made.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert made.vectors[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert made.idle.tolist() == [[0, 1]]


def test_momentum_rises_by_the_same_factor_at_each_update() -> None:
    made = Bank(1, BankSpec(slots=1, width=2, rise_updates=100))
    for updates, expected in [(0, 0.99), (50, 1 - 0.1**2.5), (100, 0.999), (1000, 0.999)]:
        made.updates.fill_(updates)
        assert made.momentum == pytest.approx(expected, abs=1e-12)


def test_a_dead_slot_goes_to_the_vector_least_like_any_slot() -> None:
    made = bank([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]], dead_updates=3)
    rows = unit([1.0, 0.1, 0.0], [0.6, 0.8, 0.0], [1.0, 0.0, 0.0])
    for _ in range(2):
        made.update(rows, torch.zeros(3, dtype=torch.int64))
    assert made.vectors[0, 1].tolist() == [0.0, 0.0, 1.0]
    assert made.idle.tolist() == [[0, 2], [0, 0]]
    made.update(rows, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(made.vectors[0, 1], rows[1])
    # A class that was not seen has not aged.
    assert made.idle.tolist() == [[0, 0], [0, 0]]
    assert made.vectors[1].tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]


def test_an_empty_slot_is_filled_by_the_first_vector_of_its_class() -> None:
    made = bank([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])
    made.update(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    assert made.filled.tolist() == [[True, False], [True, False]]
    torch.testing.assert_close(made.vectors[0], torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_a_persistent_bank_starts_by_kmeans_and_goes_on_by_momentum() -> None:
    made = Bank(1, BankSpec(slots=1, width=2, first_momentum=0.5))
    made.learn(torch.tensor([[1.0, 0.0]]), torch.tensor([-1]), seeded())
    assert not made.filled.any()
    made.learn(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), seeded())
    assert made.vectors.tolist() == [[[1.0, 0.0]]]
    made.learn(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), seeded())
    torch.testing.assert_close(made.vectors[0], unit([1.0, 1.0]))


def test_a_bank_per_batch_forgets() -> None:
    made = Bank(2, BankSpec(kind="batch", slots=1, width=2))
    made.learn(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), seeded())
    made.learn(unit([0.0, 1.0], [1.0, 1.0]), torch.tensor([0, 0]), seeded())
    torch.testing.assert_close(made.vectors[0], unit([1.0, 1.0 + 2**0.5]))
    assert made.filled.tolist() == [[True], [False]]


def test_the_bank_has_no_gradient_and_gives_none() -> None:
    made = bank([[[1.0, 0.0]]])
    rows = torch.tensor([[0.6, 0.8]], requires_grad=True)
    made.update(rows, torch.tensor([0]))
    made.learn(rows, torch.tensor([0]), seeded())
    assert not made.vectors.requires_grad
    assert not list(made.parameters())


def test_what_was_retrieved_with_does_not_change_with_the_bank() -> None:
    made = bank([[[1.0, 0.0]]])
    held = made.prototypes
    made.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert held.vectors.tolist() == [[[1.0, 0.0]]]


def test_a_bank_out_of_a_checkpoint_goes_on_to_the_bit() -> None:
    spec = BankSpec(slots=3, width=4, dead_updates=2, rise_updates=5)
    rows = functional.normalize(torch.randn(6, 30, 4, generator=seeded(5)), dim=2)
    classes = torch.randint(-1, 2, (6, 30), generator=seeded(6))
    straight, stopped = Bank(2, spec), Bank(2, spec)
    for step in range(3):
        for one in (straight, stopped):
            one.learn(rows[step], classes[step], seeded(step))
    resumed = Bank(2, spec)
    resumed.load_state_dict(load(save(stopped.state_dict())))
    for step in range(3, 6):
        straight.learn(rows[step], classes[step], seeded(step))
        resumed.learn(rows[step], classes[step], seeded(step))
    assert set(straight.state_dict()) == {"vectors", "filled", "idle", "updates"}
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert int(resumed.updates) == 5


def test_an_update_under_autocast_is_that_without() -> None:
    plain, mixed = (bank([[[1.0, 0.0], [0.0, 1.0]]]) for _ in range(2))
    rows = functional.normalize(torch.randn(50, 2, generator=seeded(5)), dim=1)
    plain.update(rows, torch.zeros(50, dtype=torch.int64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed.update(rows, torch.zeros(50, dtype=torch.int64))
    assert torch.equal(plain.vectors, mixed.vectors)
