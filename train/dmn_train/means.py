"""Moving means of what alarms look at."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor, nn


@final
class Means(nn.Module):
    """The mean of each named value over its last notes; buffers, so that a resumed run goes on with it."""

    means: Tensor
    notes: Tensor

    def __init__(self, names: tuple[str, ...], memory: int) -> None:
        super().__init__()
        self._names = names
        self._memory = memory
        self.register_buffer("means", torch.zeros(len(names)))
        self.register_buffer("notes", torch.zeros(len(names), dtype=torch.int64))

    @torch.no_grad()
    def note(self, name: str, value: Tensor) -> None:
        """Take in a scalar: the plain mean over the first notes, then a moving one of the memory's length."""
        place = self._names.index(name)
        self.notes[place] += 1
        rate = 1.0 / self.notes[place].clamp(max=self._memory)
        self.means[place] += rate * (value.detach().float() - self.means[place])

    def of(self, name: str) -> float | None:
        """Return the mean now; None before the first note."""
        place = self._names.index(name)
        return float(self.means[place]) if int(self.notes[place]) else None

    def alarms(self, rules: Mapping[str, Callable[[float], str | None]]) -> tuple[str, ...]:
        """Return the sentences that `rules`, by name, say of the means now; none of what was never noted."""
        values = {name: self.of(name) for name in rules}
        said = (rules[name](value) for name, value in values.items() if value is not None)
        return tuple(sentence for sentence in said if sentence is not None)
