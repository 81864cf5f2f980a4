"""The memory: prototypes in slots, kept from step to step or made anew by each batch."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.memory.options import BankSpec
from dmn_train.memory.prototypes import Prototypes, cosines, prototypes_of, sums_of


@final
class Bank(nn.Module):
    """Prototypes of every structure class; buffers, so that a resumed run goes on with them.

    On several devices each learns from its own batch, and all go on with the buffers of the first.

    Attributes:
        vectors: (classes, slots, d) float32, of length 1 where filled, else 0.
        filled: (classes, slots) bool.
        idle: (classes, slots) int64, updates with vectors of the class since the slot's last one.
        updates: scalar int64.
    """

    vectors: Tensor
    filled: Tensor
    idle: Tensor
    updates: Tensor

    def __init__(self, classes: int, spec: BankSpec) -> None:
        super().__init__()
        self._spec = spec
        self.register_buffer("vectors", torch.zeros(classes, spec.slots, spec.width))
        self.register_buffer("filled", torch.zeros(classes, spec.slots, dtype=torch.bool))
        self.register_buffer("idle", torch.zeros(classes, spec.slots, dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def prototypes(self) -> Prototypes:
        """What is remembered now, as a copy: a later update changes nothing that was made with it."""
        return Prototypes(self.vectors.clone(), self.filled.clone())

    def learn(self, rows: Tensor, classes: Tensor, generator: torch.Generator) -> None:
        """Take in a batch: by momentum if the bank is persistent and has started, else by k-means.

        Args:
            rows: (n, d) unit vectors; what gradient they have stays outside.
            classes: (n,) int64 structure classes; places with none (NO_CLASS) do not count.
            generator: on the CPU, for k-means.
        """
        if self._spec.kind == "batch" or not self.filled.any():
            self.start(rows, classes, generator)
        else:
            self.update(rows, classes)

    @torch.no_grad()
    def start(self, rows: Tensor, classes: Tensor, generator: torch.Generator) -> None:
        """Forget all and put the centres of each class's vectors into the slots; arguments as for `learn`."""
        made = prototypes_of(rows.detach(), classes, len(self.vectors), self._spec, generator)
        self.vectors.copy_(made.vectors)
        self.filled.copy_(made.filled)
        self.idle.zero_()
        self.updates.zero_()

    @torch.no_grad()
    def update(self, rows: Tensor, classes: Tensor) -> None:
        """Move each slot towards the mean of its vectors: p <- m p + (1 - m) mean, at length 1.

        A vector goes to the slot of its class with the largest cosine. Slots without one stay. Where a class
        has an empty slot, or one that no vector has come to for `dead_updates` updates, the vector that is
        least like any slot of the class takes its place: one slot a class and update, the longest idle first.
        Updates without a vector of a class do not count for it.

        Args:
            rows: (n, d) unit vectors.
            classes: (n,) int64; places with none (NO_CLASS) do not count.
        """
        count, slots, width = self.vectors.shape
        rows = rows.detach().float()
        here = self._likeness(rows, classes).argmax(dim=1)
        rank = torch.where(classes >= 0, classes * slots + here, -1)
        total, hits = sums_of(rows, rank, count * slots)
        hit = (hits > 0).view(count, slots) & self.filled
        mean = (total / hits.clamp(min=1.0)[:, None]).view(count, slots, width)
        m = self.momentum
        moved = functional.normalize(m * self.vectors + (1.0 - m) * mean, dim=2)
        self.vectors.copy_(torch.where(hit[..., None], moved, self.vectors))
        seen = torch.stack([(classes == number).any() for number in range(count)])
        self.idle.copy_(torch.where(hit, 0, self.idle + seen[:, None]))
        self._seed_dead(rows, classes)
        self.updates += 1

    @property
    def momentum(self) -> float:
        """The m of the next update: 1 - m falls from that of the first by the same factor at each update.

        A slot remembers about 1 / (1 - m) updates; short at first, while features still move.
        """
        spec = self._spec
        first, last = 1.0 - spec.first_momentum, 1.0 - spec.last_momentum
        risen = min(1.0, int(self.updates) / spec.rise_updates)
        return 1.0 - first * float((last / first) ** risen)

    def _likeness(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Return the cosine of every row with the slots of its class, (n, slots); -inf with an empty one."""
        every = cosines(rows, Prototypes(self.vectors, self.filled))
        own = classes.clamp(min=0)[:, None, None].expand(-1, 1, every.shape[2])
        return every.gather(1, own).squeeze(1)

    def _seed_dead(self, rows: Tensor, classes: Tensor) -> None:
        best = self._likeness(rows, classes).amax(dim=1)  # -inf, so least of all, where every slot is empty
        for number in range(len(self.vectors)):
            own = classes == number
            # An empty slot is longer dead than any other.
            age = torch.where(self.filled[number], self.idle[number], torch.iinfo(torch.int64).max)
            if own.any() and age.max() >= self._spec.dead_updates:
                slot, row = age.argmax(), best.masked_fill(~own, torch.inf).argmin()
                self.vectors[number, slot] = rows[row]
                self.filled[number, slot] = True
                self.idle[number, slot] = 0
