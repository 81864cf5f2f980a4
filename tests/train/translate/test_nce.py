"""The contrast against a reference of plain loops, and what is left out of it by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dmn_train.translate.nce import PatchHeads, find_negatives, gated_mean, patch_nce

Array = NDArray[np.float64]


def unit(*shape: int, seed: int) -> torch.Tensor:
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def reference(queries: Array, keys: Array, places: Array, width: int) -> Array:
    """Return l_i of one image, one place after the other: tau 0.07, 2 cells, cosine 0.9."""
    losses = np.zeros(len(queries))
    for i in range(len(queries)):
        positive = np.exp(queries[i] @ keys[i] / 0.07)
        below = positive
        for j in range(len(keys)):
            rows = places[i] // width - places[j] // width
            columns = places[i] % width - places[j] % width
            if np.hypot(rows, columns) < 2.0 or keys[i] @ keys[j] > 0.9:
                continue
            below += np.exp(queries[i] @ keys[j] / 0.07)
        losses[i] = -np.log(positive / below)
    return losses


def test_it_is_the_formula() -> None:
    # Two dimensions, so that some keys are near-duplicates; a small grid, so that some places are neighbours.
    queries, keys = unit(2, 30, 2, seed=1), unit(2, 30, 2, seed=2)
    places = torch.randint(40, (2, 30), generator=torch.Generator().manual_seed(3))
    negatives = find_negatives(keys, places, 8, least_cells=2.0, most_cosine=0.9, least_share=0.0)
    assert 0.3 < negatives.float().mean() < 0.9
    # Where half of the keys are unlike enough, the least share of them changes nothing.
    same = find_negatives(keys, places, 8, least_cells=2.0, most_cosine=0.9, least_share=0.5)
    assert torch.equal(same, negatives)
    losses = patch_nce(queries, keys, negatives, 0.07)
    for image in range(2):
        rows = (part[image].double().numpy() for part in (queries, keys, places))
        expected = reference(*rows, width=8)
        np.testing.assert_allclose(losses[image].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_close_keys_and_like_keys_are_no_negatives_by_hand() -> None:
    # On a grid 10 wide: place 0 at (0, 0), 11 beside it at (1, 1), 2 two cells off, 55 far off.
    places = torch.tensor([[0, 11, 2, 55]])
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.96, 0.28]]])
    found = find_negatives(keys, places, 10, least_cells=2.0, most_cosine=0.9, least_share=0.0)
    # Of (0, 1): neighbours. Of (0, 3): cosine 0.96. Of (1, 2): (1, 1) and (0, 2) are neighbours.
    expected = torch.tensor(
        [
            [False, False, True, False],
            [False, False, False, True],
            [True, False, False, True],
            [False, True, True, False],
        ]
    )
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize(("least", "count"), [(0.5, 3), (1.0, 3), (1.5, 2), (2.5, 1), (9.0, 0)])
def test_nearer_than_so_many_cells_is_left_out(least: float, count: int) -> None:
    keys, places = torch.eye(4)[None], torch.tensor([[0, 1, 2, 3]])
    found = find_negatives(keys, places, 8, least_cells=least, most_cosine=0.9, least_share=0.0)
    assert int(found[0, 0].sum()) == count


def test_the_least_alike_keys_count_however_alike_they_are() -> None:
    angles = torch.deg2rad(torch.tensor([0.0, 2.0, 5.0, 9.0]))
    keys = torch.stack([angles.cos(), angles.sin()], dim=-1)[None]
    places = torch.tensor([[0, 20, 40, 1]])  # the last key is beside the first
    rule = {"least_cells": 2.0, "most_cosine": 0.9}
    assert not find_negatives(keys, places, 8, **rule, least_share=0.0).any()
    half = find_negatives(keys, places, 8, **rule, least_share=0.5)
    assert half[0].int().tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 0]]


def test_places_without_a_negative_have_no_loss() -> None:
    queries, keys = unit(1, 4, 3, seed=1), unit(1, 4, 3, seed=2)
    assert torch.equal(
        patch_nce(queries, keys, torch.zeros(1, 4, 4, dtype=torch.bool), 0.07), torch.zeros(1, 4)
    )


def test_keys_carry_no_gradient() -> None:
    queries, keys = unit(1, 6, 3, seed=1).requires_grad_(), unit(1, 6, 3, seed=2).requires_grad_()
    patch_nce(queries, keys, ~torch.eye(6, dtype=torch.bool)[None], 0.07).sum().backward()
    assert queries.grad is not None
    assert queries.grad.abs().max() > 0
    assert keys.grad is None


def test_it_falls_as_queries_come_to_their_keys() -> None:
    keys, negatives = unit(1, 20, 4, seed=2), ~torch.eye(20, dtype=torch.bool)[None]
    apart = patch_nce(unit(1, 20, 4, seed=1), keys, negatives, 0.07).mean()
    assert patch_nce(keys, keys, negatives, 0.07).mean() < 0.3 * apart


def test_it_is_computed_in_float32_under_autocast() -> None:
    queries, keys = unit(1, 200, 3, seed=1), unit(1, 200, 3, seed=2)
    places = torch.arange(200)[None]
    plain = find_negatives(keys, places, 5, least_cells=2.0, most_cosine=0.9, least_share=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        negatives = find_negatives(keys, places, 5, least_cells=2.0, most_cosine=0.9, least_share=0.0)
        losses = patch_nce(queries, keys, negatives, 0.07)
    assert torch.equal(negatives, plain)
    assert torch.equal(losses, patch_nce(queries, keys, plain, 0.07))


def test_gates_weigh_the_mean_by_hand() -> None:
    losses, gates = torch.tensor([[1.0, 2.0], [4.0, 8.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert gated_mean(losses, gates).item() == pytest.approx((1.0 + 2.0 + 4.0) / 2.0, rel=1e-5)
    assert gated_mean(losses, torch.zeros(2, 2)).item() == 0.0


def test_heads_give_unit_vectors() -> None:
    torch.manual_seed(0)
    heads = PatchHeads((1, 6), 16)
    for stage, channels in enumerate((1, 6)):
        vectors = heads(torch.randn(2, 5, channels), stage)
        assert vectors.shape == (2, 5, 16)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 5))
