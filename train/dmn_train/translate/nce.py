"""Patchwise contrast: each place of the translation is to be known again among the places of its source.

l_i = -log( exp(q_i.k_i / tau) / (exp(q_i.k_i / tau) + sum over Neg(i) exp(q_i.k_j / tau)) ), q_i from the
translated image and k_i from its source at the same place: Park et al., Contrastive learning for unpaired
image-to-image translation, ECCV 2020, equation 3. Two departures. Each place has a weight, the gate. Neg(i)
leaves out places beside i, and places that look like i: cytoplasm and membranes repeat, and to tell one
stretch from its like is to learn noise. Yet half of the places, those least like i, always count: heads that
make all places alike would leave no negative, and a contrast of 0 for good.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_SUM = 1e-6  # divides the sum of closed gates


class PatchHeads(nn.Module):
    """One network a stage, from features to the unit vectors that are compared."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(before, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for before in channels
        )

    def forward(self, vectors: Tensor, stage: int) -> Tensor:
        """Return unit vectors, n x p x width float32, of the `stage`-th stage's `vectors`, n x p x c."""
        projected: Tensor = self.heads[stage](vectors)
        return functional.normalize(projected.float(), dim=-1)


def find_negatives(
    keys: Tensor, places: Tensor, width: int, *, least_cells: float, most_cosine: float, least_share: float
) -> Tensor:
    """Tell which keys are negatives of which queries; bool, n x p x p, query first.

    Args:
        keys: n x p x d float32, unit vectors.
        places: n x p int64, flat indices on a grid.
        width: of that grid.
        least_cells: a closer key is none (the query's own place is thus left out).
        most_cosine: a key with a larger cosine to the query's own key is none.
        least_share: but this share of all keys, the least alike ones, are not too alike in any case.
    """
    position = torch.stack([places // width, places % width], dim=-1).double()
    far = torch.cdist(position, position, compute_mode="donot_use_mm_for_euclid_dist") >= least_cells
    with torch.autocast(keys.device.type, enabled=False):
        alike = keys.detach() @ keys.detach().transpose(1, 2)
    rank = int(least_share * keys.shape[1])
    if rank == 0:
        return far & (alike <= most_cosine)
    return far & (alike <= alike.kthvalue(rank, dim=-1, keepdim=True).values.clamp(min=most_cosine))


def patch_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return l_i of every place, n x p float32; 0 for a place without a negative.

    Keys carry no gradient: the translation is to come to the source, not the other way round.

    Args:
        queries: n x p x d float32, unit vectors.
        keys: n x p x d float32, unit vectors.
        negatives: n x p x p bool, query first.
        temperature: tau.
    """
    # Over tau, the rounding of bfloat16 would be worth several hundredths.
    with torch.autocast(queries.device.type, enabled=False):
        keys = keys.detach()
        positive = (queries * keys).sum(-1, keepdim=True) / temperature
        others = (queries @ keys.transpose(1, 2)) / temperature
        others = others.masked_fill(~negatives, -torch.inf)
        return torch.logsumexp(torch.cat([positive, others], dim=-1), dim=-1) - positive[..., 0]


def gated_mean(losses: Tensor, gates: Tensor) -> Tensor:
    """Return sum g l / (sum g + eps) over all places of a batch: a scalar."""
    return (gates * losses).sum() / (gates.sum() + LEAST_SUM)
