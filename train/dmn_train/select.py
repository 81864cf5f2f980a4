"""Which weights of a run are kept: pure decisions from what was measured at the validations so far.

A run keeps the list of `Scored`; whoever has the list decides the same, so a resumed run goes on as if it had
never stopped. No score is made from a label of the target (docs/selection.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Rule = Literal["last", "held_out", "solidity", "entropy"]


class Scored(NamedTuple):
    """A validation: steps done and the score, higher is better, None where there is none (the worst).

    In JSON it is a list of two; `Scored(*pair)` reads it back.
    """

    step: int
    score: float | None


@dataclass(frozen=True)
class Measured:
    """What a validation measured; None where it could not be or was not wanted.

    Attributes:
        held_out_iou: foreground IoU on the source's held-out slices.
        solidity: mean solidity of the objects found in the target; None if there are none.
        source_solidity: that of the source's labels.
        entropy: `label_free.mean_entropy` of the target's probabilities.
    """

    held_out_iou: float | None = None
    solidity: float | None = None
    source_solidity: float | None = None
    entropy: float | None = None


def score(rule: Rule, step: int, measured: Measured) -> Scored:
    """Return what `rule` makes of the validation after `step` steps; a NaN is no score."""
    value = _value(rule, step, measured)
    return Scored(step, None if value is None or math.isnan(value) else value)


def _value(rule: Rule, step: int, measured: Measured) -> float | None:
    match rule:
        case "last":
            return float(step)
        case "held_out":
            return measured.held_out_iou
        case "solidity":
            if measured.solidity is None or measured.source_solidity is None:
                return None
            return -abs(measured.solidity - measured.source_solidity)
        case "entropy":
            return None if measured.entropy is None else -measured.entropy


@dataclass(frozen=True)
class Decision:
    """What follows from the validations so far.

    Attributes:
        best: step of the best weights; None before the first validation.
        kept: steps whose snapshots must be on disk while the run lasts, best first.
        remaining: of `kept`, those that stay once the run is finished and the best are its weights.
        ends: the run is over, its patience spent.
    """

    best: int | None
    kept: tuple[int, ...]
    remaining: tuple[int, ...]
    ends: bool


@dataclass(frozen=True)
class Selector:
    """The keys of a recipe's [select] that decide.

    Attributes:
        rule: what the scores are.
        keep: how many snapshots stay in the run folder.
        patience: validations without a better score after which the run ends; 0 never ends it.
    """

    rule: Rule
    keep: int = 0
    patience: int = 0

    def decide(self, validations: Sequence[Scored]) -> Decision:
        """Return what follows from the validations so far, in the order of their steps.

        Of equal scores the later step is the better one, but it is no better score: patience counts on.
        """
        ranked = [one.step for one in sorted(validations, key=_rank, reverse=True)]
        # The rule "last" needs no snapshot of its best, the network itself; the others do.
        kept = ranked[: self.keep if self.rule == "last" else max(self.keep, 1)]
        return Decision(
            best=ranked[0] if ranked else None,
            kept=tuple(kept),
            remaining=tuple(ranked[: self.keep]),
            ends=0 < self.patience <= _since_better(validations),
        )


def _rank(one: Scored) -> tuple[float, int]:
    return (-math.inf if one.score is None else one.score, one.step)


def _since_better(validations: Sequence[Scored]) -> int:
    """Return how many validations there were since the best score was first reached.

    0 before the first score: a network that has found nothing yet is not given up.
    """
    scores = [-math.inf if one.score is None else one.score for one in validations]
    if not scores or max(scores) == -math.inf:
        return 0
    return len(scores) - 1 - scores.index(max(scores))
