"""The gate: what each place counts in the contrast, in [0, 1].

g_i = c_i w_i. Foreground weight w: 1 on the outline, 0.7 inside, 0.3 elsewhere (`regions.py`). Spatial
consistency c_i = exp(-|S_i(x) - S_i(xhat)|_1 / kappa), S_i being how like its 8 neighbours a place is, kappa
a running median of the distances. A small c says that the translation changed what is beside what. The README
of DiSMemNet says that its gate suppresses irrelevant regions, so such places are ignored; the opposite sign,
to push there harder, is "inverted": (1 - c) w. Further readings: "foreground" w, "consistency" c, "none" 1,
and "learned", a network's sigmoid on what is compared.

No gradient passes the gate to what is translated or compared. The learned gate's own weights learn from the
contrast, which falls when hard places close; the pull (mean g - 1/2)^2 keeps it from closing all of them.

As kappa follows the distances, the mean of c stays where it is whatever the translation does: that nothing is
consistent any more is told by `inconsistency`, which holds the distances against those of unrelated places.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.translate.locations import gather
from dmn_train.translate.options import ContrastSpec, Reading
from dmn_train.translate.sobel import sobel_magnitude

MEMORY = 0.9  # of the running median, a step
LEAST_KAPPA = 1e-6  # where nothing has changed yet, every distance is 0 and everything consistent
PULL = 0.1
HIDDEN = 64
NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


@dataclass(frozen=True)
class Compared:
    """What a gate looks at, of one stage.

    Attributes:
        before: features of the images, nchw.
        after: features of their translations, nchw.
        places: n x p int64, flat indices on their grid.
        weight: w of the places, n x p float32.
        keys: n x p x d float32, unit vectors of `before` at the places.
        queries: likewise of `after`.
    """

    before: Tensor
    after: Tensor
    places: Tensor
    weight: Tensor
    keys: Tensor
    queries: Tensor


@final
class Gate(nn.Module):
    """The gate of one kind of pass, with the running medians of its stages.

    Attributes:
        kappa: running median of each stage's distances, float32.
        seen: how often each has been updated, int64.
    """

    kappa: Tensor
    seen: Tensor

    def __init__(self, reading: Reading, contrast: ContrastSpec) -> None:
        super().__init__()
        self.reading = reading
        count = len(contrast.stages)
        self.register_buffer("kappa", torch.zeros(count))
        self.register_buffer("seen", torch.zeros(count, dtype=torch.int64))
        self.learned = nn.ModuleList(
            _opinion(contrast.width) for _ in range(count if reading == "learned" else 0)
        )

    def forward(self, compared: Compared, stage: int) -> Tensor:
        """Return g of each place, n x p float32; `stage` counts the compared ones.

        In training mode the stage's running median takes in this batch before it is used.
        """
        match self.reading:
            case "none":
                return torch.ones_like(compared.weight)
            case "foreground":
                return compared.weight
            case "learned":
                return self._opinion(compared, stage)
            case "consistency":
                return self._consistency(compared, stage)
            case "inverted":
                return (1.0 - self._consistency(compared, stage)) * compared.weight
            case "rule":
                return self._consistency(compared, stage) * compared.weight

    @torch.no_grad()
    def _consistency(self, compared: Compared, stage: int) -> Tensor:
        distance = similarity_distance(compared.before, compared.after, compared.places)
        if self.training:
            self._remember(distance.median(), stage)
        return torch.exp(-distance / self.kappa[stage].clamp(min=LEAST_KAPPA))

    def _remember(self, median: Tensor, stage: int) -> None:
        first = self.seen[stage] == 0
        self.kappa[stage] = torch.where(first, median, torch.lerp(median, self.kappa[stage], MEMORY))
        self.seen[stage] += 1

    def _opinion(self, compared: Compared, stage: int) -> Tensor:
        queries, keys = compared.queries.detach(), compared.keys.detach()
        told = torch.cat([queries * keys, (queries - keys).abs(), compared.weight[..., None]], dim=-1)
        opinion: Tensor = self.learned[stage](told)
        return opinion[..., 0].float().sigmoid()


def pull_open(gates: Tensor) -> Tensor:
    """Return 0.1 (mean g - 1/2)^2, which a learned gate adds to the loss: a scalar."""
    return PULL * (gates.mean() - 0.5).square()


def similarity_distance(before: Tensor, after: Tensor, places: Tensor) -> Tensor:
    """Return |S_i(before) - S_i(after)|_1, n x p float32, at `places`, n x p, of features, nchw."""
    return (self_similarity(before, places) - self_similarity(after, places)).abs().sum(-1)


@torch.no_grad()
def inconsistency(before: Tensor, after: Tensor, places: Tensor) -> Tensor:
    """Return how much of what is beside what has changed, a scalar, 0 to 1.

    It is the median of the places' |S_i(before) - S_i(after)|_1 over that of |S_i(before) - S_j(before)|_1, j
    being another place of the same image, at most 1, at which a place is no more like itself than like any.

    Args:
        before: features of the images, nchw.
        after: features of their translations, nchw.
        places: n x p int64, flat indices on their grid; the j of a place stands half of the p after it.
    """
    here, there = self_similarity(before, places), self_similarity(after, places)
    changed = (here - there).abs().sum(-1).median()
    unrelated = (here - here.roll(places.shape[1] // 2, dims=1)).abs().sum(-1).median()
    return (changed / unrelated.clamp(min=LEAST_KAPPA)).clamp(max=1.0)


def self_similarity(feature: Tensor, places: Tensor) -> Tensor:
    """Return how alike each place and its 8 neighbours are, n x p x 8 float32; the grid's rim is repeated.

    Of vectors it is their cosine. Two numbers a, b >= 0 have no angle: of a single channel it is
    2 min(a, b) / (a + b), which a common gain leaves as it is, and cosines do likewise.

    Args:
        feature: nchw.
        places: n x p int64, flat indices on its grid.
    """
    height, width = feature.shape[2:]
    rows, columns = places // width, places % width
    here = gather(feature, places).float()
    found = []
    for dy, dx in NEIGHBOURS:
        beside = (rows + dy).clamp(0, height - 1) * width + (columns + dx).clamp(0, width - 1)
        there = gather(feature, beside).float()
        found.append(_share(here, there) if feature.shape[1] == 1 else _cosine(here, there))
    return torch.stack(found, dim=-1)


def _cosine(one: Tensor, two: Tensor) -> Tensor:
    return functional.cosine_similarity(one, two, dim=-1)


def _share(one: Tensor, two: Tensor) -> Tensor:
    both = (one + two).clamp(min=torch.finfo(torch.float32).tiny)
    return (2.0 * torch.minimum(one, two) / both)[..., 0]


def seen_by_gate(feature: Tensor, stage: int) -> Tensor:
    """Return what the gate is to look at of a generator's stage, nchw.

    That is its features; of stage 0, the image, the steepness of the middle slice: whether a pixel is like
    its neighbours in grey value says more of the noise than of what is there.
    """
    if stage > 0:
        return feature
    middle = feature.shape[1] // 2
    return sobel_magnitude(feature[:, middle : middle + 1])


def _opinion(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * width + 1, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, 1))
