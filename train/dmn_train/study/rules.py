"""What each rule of model selection would have kept of a run: a table sets the rules side by side."""

from pathlib import Path

from dmn_train.run import CURVES
from dmn_train.select import Measured, Rule, Selector, score
from dmn_train.study.scoring import Score

RULES: tuple[Rule, ...] = ("held_out", "solidity", "entropy")
"""Rules that may differ from "last"."""
FIELDS = {
    "held_out_iou": "held_out_iou",
    "target_solidity": "solidity",
    "source_solidity": "source_solidity",
    "target_entropy": "entropy",
}
"""Names of curves and what `Measured` calls them."""


def iou_by_rule(folder: Path, of_run: Score) -> dict[Rule, float]:
    """Return the test IoU of the snapshot that each rule would have kept.

    Args:
        folder: of the run.
        of_run: its score.

    Returns:
        IoU by rule; a rule is left out where there are no snapshots or the curves lack what it reads.
    """
    measured = {step: one for step, one in read_measured(folder / CURVES).items() if step in of_run.snapshots}
    chosen: dict[Rule, float] = {}
    for rule in RULES:
        validations = [score(rule, step, one) for step, one in sorted(measured.items())]
        best = Selector(rule).decide(validations).best
        if best is not None and any(one.score is not None for one in validations):
            chosen[rule] = of_run.snapshots[best]
    return chosen


def read_measured(curves: Path) -> dict[int, Measured]:
    """Return what was measured at each validation, from a run's curves.csv."""
    values: dict[int, dict[str, float]] = {}
    for line in curves.read_text(encoding="utf-8").splitlines()[1:]:
        step, name, value = line.split(",")
        if name in FIELDS:
            values.setdefault(int(step), {})[FIELDS[name]] = float(value)
    return {step: Measured(**found) for step, found in values.items()}
