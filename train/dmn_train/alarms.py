"""Alarms of self-training: how labels that a network makes up for itself come to nothing, in a sentence."""

from typing import final

from torch import Tensor, nn

from dmn_train.means import Means

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


def bounded_alarm(share: float, source_share: float, most: float) -> str | None:
    """Return a sentence where a teacher finds far more foreground than the source has, bounded or not.

    Args:
        share: of the target's pixels that the teacher calls foreground, before its labels are bounded.
        source_share: as for `foreground_alarm`.
        most: share that its labels may call foreground.
    """
    times = share / source_share
    if times <= MOST_OF_SOURCE:
        return None
    return (
        f"the teacher finds much foreground, in {share:.2%} of the target's pixels and {times:.2g} times the "
        f"source's {source_share:.2%} (the alarm is at {MOST_OF_SOURCE:g} times), of which the bound of "
        f"{most:.2%} leaves its labels the surest: unless the target holds so much, it takes other things "
        "for foreground, so compare the predictions with those of another method"
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

    def __init__(self) -> None:
        super().__init__()
        self.means = Means(("foreground_share", "confident_share"), MEMORY_STEPS)

    def note(self, foreground_share: Tensor, confident_share: Tensor) -> None:
        """Take in a step."""
        self.means.note("foreground_share", foreground_share)
        self.means.note("confident_share", confident_share)

    def alarms(self, source_share: float) -> tuple[str, ...]:
        """Return the sentences that hold now; `source_share` is as for `foreground_alarm`."""
        return self.means.alarms(
            {
                "foreground_share": lambda share: foreground_alarm(share, source_share),
                "confident_share": confidence_alarm,
            }
        )
