"""What dismemnet must know of the run beside its own section."""

from dataclasses import dataclass

import numpy as np
import torch

TRANSLATION_STREAM = 4  # 1 to 3 are those of data.py; 4 is of pairs of sections there, which this has not
MEMORY_STREAM = 5


@dataclass(frozen=True)
class RunFacts:
    """Facts of the run.

    Attributes:
        seed: `loop.seed`.
        steps: `loop.steps`.
        clip: bound of normalised intensities.
        trained_start: whether the first weights have learned something (`init.run`).
    """

    seed: int
    steps: int
    clip: float
    trained_start: bool

    def step(self, progress: float) -> int:
        """Return the number of the step, from 0, before which `progress` of the run is done."""
        return round(progress * self.steps)

    def random(self, progress: float, stream: int) -> torch.Generator:
        """Return random numbers, on the CPU, that are a function of seed, step and stream alone."""
        seeds = np.random.default_rng([self.seed, self.step(progress), 0, stream])
        return torch.Generator().manual_seed(int(seeds.integers(2**63)))
