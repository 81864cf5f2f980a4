"""Alarms of self-training: how labels that a network makes up for itself come to nothing, in a sentence."""

from typing import final

import torch
from torch import Tensor, nn

LEAST_OF_SOURCE, MOST_OF_SOURCE = 0.2, 5.0
LEAST_CONFIDENT = 0.01
MEMORY_STEPS = 50


def foreground_alarm(share: float, source_share: float) -> str | None:
    """Return a sentence where pseudo-labels hold far less or far more foreground than the source's labels.

    Args:
        share: of the target's pixels that the teacher calls foreground.
        source_share: of the source's labelled voxels that are foreground, above 0.
    """
    times = share / source_share
    if LEAST_OF_SOURCE <= times <= MOST_OF_SOURCE:
        return None
    little = times < LEAST_OF_SOURCE
    found, limit = ("little", LEAST_OF_SOURCE) if little else ("much", MOST_OF_SOURCE)
    return (
        f"the pseudo-labels hold {found} foreground, {share:.2%} of the target's pixels and {times:.2g} "
        f"times the source's {source_share:.2%} (the alarm is at {limit:g} times): unless the volumes differ "
        "so, self-training has collapsed, so compare the predictions with those of another method"
    )


def confidence_alarm(share: float) -> str | None:
    """Return a sentence where the teacher is sure of hardly any pixel of the target; `share` is of those."""
    if share >= LEAST_CONFIDENT:
        return None
    return (
        f"the teacher is sure of {share:.2%} of the target's pixels (the alarm is at {LEAST_CONFIDENT:.0%}): "
        "begin from weights trained on the source (init.run), or use another method"
    )


@final
class Watch(nn.Module):
    """The mean of what the last steps' pseudo-labels were; buffers, so that a resumed run goes on with it."""

    foreground_share: Tensor
    confident_share: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("foreground_share", "confident_share", "steps"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def note(self, foreground_share: Tensor, confident_share: Tensor) -> None:
        """Take in a step: the plain mean over the first 50, then a moving one of that length."""
        self.steps += 1.0
        rate = 1.0 / self.steps.clamp(max=float(MEMORY_STEPS))
        self.foreground_share += rate * (foreground_share - self.foreground_share)
        self.confident_share += rate * (confident_share - self.confident_share)

    def alarms(self, source_share: float) -> tuple[str, ...]:
        """Return the sentences that hold now; `source_share` is as for `foreground_alarm`."""
        found = (
            foreground_alarm(float(self.foreground_share), source_share),
            confidence_alarm(float(self.confident_share)),
        )
        return tuple(sentence for sentence in found if sentence is not None)
