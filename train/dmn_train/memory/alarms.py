"""The memory's alarm: prototypes that are all alike tell nothing apart."""

import torch
from torch import Tensor

from dmn_train.memory.prototypes import Prototypes, cosines

MOST_ALIKE = 0.95


@torch.no_grad()
def mean_cosine(prototypes: Prototypes) -> Tensor:
    """Return the mean cosine over all pairs of filled slots, a scalar; 0 with fewer than two of them."""
    rows = prototypes.vectors[prototypes.filled]
    count = len(rows)
    if count < 2:
        return rows.new_zeros(())
    every = cosines(rows, Prototypes(rows[None], rows.new_ones((1, count), dtype=torch.bool))).squeeze(1)
    return (every.sum() - every.diagonal().sum()) / (count * (count - 1))


def collapse_alarm(cosine: float) -> str | None:
    """Return a sentence where prototypes are nearly all the same; `cosine` is as `mean_cosine` gives it."""
    if cosine <= MOST_ALIKE:
        return None
    return (
        f"the memory has collapsed: its prototypes have a mean cosine of {cosine:.3f} (the alarm is at "
        f"{MOST_ALIKE:g}), so they tell no structures apart; give the contrast more weight, or refine labels "
        "without the memory"
    )
