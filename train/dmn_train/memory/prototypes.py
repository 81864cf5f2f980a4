"""Prototypes as values: unit vectors in slots of classes, some maybe empty; and how k-means makes them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dmn_train.memory.options import BankSpec

LEAST_DISTANCE = 1e-6  # 1 - cos of vectors that differ by rounding alone


class Prototypes(NamedTuple):
    """What a memory holds; nothing here has a gradient.

    Attributes:
        vectors: (classes, slots, d) float32, of length 1 where filled.
        filled: (classes, slots) bool.
    """

    vectors: Tensor
    filled: Tensor


@torch.no_grad()
def cosines(rows: Tensor, prototypes: Prototypes) -> Tensor:
    """Return the cosine of unit vectors, (n, d), with every slot: (n, classes, slots) float32.

    That with an empty slot is -inf. There is no gradient.
    """
    return masked_cosines(rows, prototypes)


def masked_cosines(rows: Tensor, prototypes: Prototypes) -> Tensor:
    """Return what `cosines` does; the gradient flows to `rows`."""
    classes, slots, width = prototypes.vectors.shape
    with torch.autocast(rows.device.type, enabled=False):  # bf16 has 3 digits, too few to tell slots apart
        every = rows.float() @ prototypes.vectors.reshape(classes * slots, width).T
    return every.view(-1, classes, slots).masked_fill(~prototypes.filled, -torch.inf)


@torch.no_grad()
def prototypes_of(
    rows: Tensor, classes: Tensor, count: int, spec: BankSpec, generator: torch.Generator
) -> Prototypes:
    """Return the centres of each class's vectors by k-means; the slots that it has no vectors for are empty.

    Args:
        rows: (n, d) float32 unit vectors.
        classes: (n,) int64; those outside 0 to count - 1 do not count.
        count: of classes.
        spec: slots and rounds.
        generator: on the CPU, so that every device draws alike.
    """
    vectors = rows.new_zeros((count, spec.slots, rows.shape[1]), dtype=torch.float32)
    filled = torch.zeros((count, spec.slots), dtype=torch.bool, device=rows.device)
    for number in range(count):
        centres = spherical_kmeans(rows[classes == number].float(), spec.slots, spec.rounds, generator)
        vectors[number, : len(centres)] = centres
        filled[number, : len(centres)] = True
    return Prototypes(vectors, filled)


@torch.no_grad()
def spherical_kmeans(rows: Tensor, clusters: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Return at most `clusters` centres, (k, d) float32 of length 1, k = min(clusters, n).

    Dhillon and Modha, Concept decompositions for large sparse text data using clustering, Machine Learning
    2001: vectors go to the centre of the largest cosine, centres to the direction of their vectors' sum.
    First centres as in Arthur and Vassilvitskii, k-means++, SODA 2007: each with probability proportional to
    the squared distance to the nearest one so far, which for unit vectors is 2 - 2 cos. A centre without
    vectors stays.

    Args:
        rows: (n, d) float32 unit vectors.
        clusters: wanted.
        rounds: until no vector changes its centre, or so many.
        generator: on the CPU.
    """
    with torch.autocast(rows.device.type, enabled=False):
        centres = _first_centres(rows, min(clusters, len(rows)), generator)
        if len(centres) == 0:
            return centres
        nearest = torch.full((len(rows),), -1, device=rows.device)
        for _ in range(rounds):
            former, nearest = nearest, (rows @ centres.T).argmax(dim=1)
            if torch.equal(former, nearest):
                break
            total, hits = sums_of(rows, nearest, len(centres))
            centres = torch.where(hits[:, None] > 0, functional.normalize(total, dim=1), centres)
    return centres


def sums_of(rows: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the sum, (count, d), and the number, (count,) float32, of the rows that go to each place.

    As a product of matrices: adding by index is of no fixed order on a GPU.

    Args:
        rows: (n, d) float32.
        places: (n,) int64; rows outside 0 to count - 1 go nowhere.
        count: of places.
    """
    member = (places[None, :] == torch.arange(count, device=places.device)[:, None]).float()
    with torch.autocast(rows.device.type, enabled=False):
        return member @ rows.float(), member.sum(dim=1)


def _first_centres(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = rows[:0]
    left = torch.ones(len(rows), dtype=torch.float64, device=rows.device)
    for _ in range(count):
        edges = left.cumsum(dim=0)
        if edges[-1] <= 0:  # the rest are copies of what is chosen
            break
        draw = torch.rand((), dtype=torch.float64, generator=generator).to(rows.device) * edges[-1]
        at = torch.searchsorted(edges, draw, right=True).clamp(max=len(rows) - 1)
        chosen = torch.cat([chosen, rows[at][None]])
        distance = (1.0 - (rows @ chosen[-1]).double()).clamp(min=0.0)
        distance = distance.masked_fill(distance < LEAST_DISTANCE, 0.0)
        left = distance if len(chosen) == 1 else torch.minimum(left, distance)
        left[at] = 0.0
    return chosen
