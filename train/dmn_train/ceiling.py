"""How much foreground a teacher may find, over many batches: a prior on the proportion of the classes.

Of a target that resembles its source badly a network may find too much: clusters of vesicles, say, that it
gives 0.6 to 0.9, and self-training then makes 1. Where the foreground's share is known to lie below some
bound, the odds of all probabilities are divided by one number so that the bound holds: the correction for a
changed prior of Saerens et al., Neural Computation 2002, with the number found from the share wanted, as
distribution alignment does (Berthelot et al., ReMixMatch, ICLR 2020). What is surest stays foreground.
"""

from typing import final

import torch
from torch import Tensor, nn

from dmn_train.alarms import bounded_alarm

MEMORY_STEPS = 50
LIMIT, BINS = 12.0, 480  # of the logit
LEAST = 1e-6  # a probability nearer to 0 or 1 has the logit of this one


@final
class ForegroundCeiling(nn.Module):
    """The logits of the last steps' predictions; buffers, so that a resumed run goes on with them."""

    histogram: Tensor
    notes: Tensor

    def __init__(self, most: float) -> None:
        """Set the share of pixels, above 0 and below 1, that may be foreground."""
        super().__init__()
        self.most = most
        self.register_buffer("histogram", torch.zeros(BINS))
        self.register_buffer("notes", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def corrected(self, views: Tensor) -> Tensor:
        """Take in a batch's probabilities and return them with the odds divided; as they are if that is 1.

        Args:
            views: vn1hw float32, by view of the teacher.
        """
        self._note(_logit(views.mean(dim=0)))
        shift = self.shift()
        return views if shift == 0.0 else torch.sigmoid(_logit(views) - shift)

    def shift(self) -> float:
        """Return the logarithm of the number that odds are divided by: the least that keeps the share."""
        above = self.histogram.flip(0).cumsum(0).flip(0)  # share of the pixels in a bin or above it
        allowed = torch.nonzero(above[BINS // 2 :] <= self.most)
        steps = int(allowed[0]) if len(allowed) else BINS // 2
        return steps * 2.0 * LIMIT / BINS

    def found(self) -> float:
        """Return the share of pixels that was called foreground in the last steps, before any correction."""
        return float(self.histogram[BINS // 2 :].sum())

    def alarms(self, source_share: float) -> tuple[str, ...]:
        """Return a sentence where that is far more than the source's, which corrected labels do not show."""
        alarm = bounded_alarm(self.found(), source_share, self.most)
        return () if alarm is None else (alarm,)

    def _note(self, logit: Tensor) -> None:
        """Take in a batch: the plain mean over the first batches, then a moving one of MEMORY_STEPS."""
        counted = torch.histc(logit, bins=BINS, min=-LIMIT, max=LIMIT) / logit.numel()
        self.notes += 1
        rate = 1.0 / self.notes.clamp(max=MEMORY_STEPS)
        self.histogram += rate * (counted - self.histogram)


def _logit(probability: Tensor) -> Tensor:
    # float32 rounds 1 - 1e-6 well enough; beyond, the logit would be that of rounding.
    return torch.logit(probability, eps=LEAST).clamp(-LIMIT, LIMIT)
