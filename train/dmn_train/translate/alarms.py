"""When a translation has gone wrong, in words: from a number of the curves to a sentence or nothing."""

from torch import Tensor

GATE_CLOSED = 0.05
MOST_INCONSISTENT = 0.75
LEAST_AGREEMENT = 0.8
FEW_NEGATIVES = 0.05


def gate_alarm(mean_gate: float) -> str | None:
    """Return a sentence if the gate has closed by its mean, as a learned one can.

    A gate by rule cannot: as kappa is a median, half of its places have a c of 1 / e whatever the translation
    does. For these there is `consistency_alarm`.

    Args:
        mean_gate: mean of g over all places, 0 to 1.
    """
    if mean_gate >= GATE_CLOSED:
        return None
    return (
        f"the gate of the translation has closed (mean {mean_gate:.3f}, it should be {GATE_CLOSED} or more): "
        "the contrast holds nothing in place any more; try the gate without consistency, or none"
    )


def consistency_alarm(inconsistency: float) -> str | None:
    """Return a sentence if the gate can tell nothing by consistency any more, for nothing is consistent.

    Args:
        inconsistency: 0 to 1, as `gate.inconsistency` has it.
    """
    if inconsistency <= MOST_INCONSISTENT:
        return None
    return (
        f"the gate of the translation has closed (places are {inconsistency:.2f} times as unlike themselves "
        f"as others, the alarm is at {MOST_INCONSISTENT}): the translation leaves nothing in place; raise "
        "the weight of the contrast to 2 to 4, or lower the learning rate"
    )


def invention_alarm(dice: float, least: float = LEAST_AGREEMENT) -> str | None:
    """Return a sentence if the source network finds other objects in the translations than in their sources.

    Args:
        dice: of S0(x_s) and S0(xhat), 0 to 1, as `mask_dice` has it.
        least: what is borne.
    """
    if dice >= least:
        return None
    return (
        f"the translation removes or invents objects (Dice {dice:.2f} between what the source network "
        f"finds before and after, {least:.2f} or more is wanted): raise the weight of the contrast to 2 to 4"
    )


def negatives_alarm(share: float) -> str | None:
    """Return a sentence if hardly any two places are told apart.

    With all places alike the contrast is 0, and teaches nothing, whatever the translation does.

    Args:
        share: of all pairs of places that are compared as unlike, 0 to 1.
    """
    if share >= FEW_NEGATIVES:
        return None
    return (
        f"the contrast of the translation has collapsed ({share:.1%} of the places differ from one another, "
        f"{FEW_NEGATIVES:.0%} or more is wanted): all places look alike to it; lower the learning rate"
    )


def mask_dice(before: Tensor, after: Tensor) -> float:
    """Return the Dice of two segmentations at 1/2, 0 to 1; 1 where both are empty.

    Args:
        before: logits n1hw of the network on the source.
        after: logits n1hw of the same network on the translation.
    """
    one, two = before > 0, after > 0
    total = int(one.sum()) + int(two.sum())
    return 2.0 * int((one & two).sum()) / total if total else 1.0
