"""What each rule of model selection would have kept of a run: a table sets the rules side by side."""

from pathlib import Path

from dmn_runtime.errors import RunError
from dmn_train.measure import CURVE_OF
from dmn_train.run import CURVES
from dmn_train.select import Measured, Rule, Selector, score
from dmn_train.study.score import Score

RULES: tuple[Rule, ...] = ("held_out", "solidity", "entropy")
"""Rules that may differ from "last"."""
FIELD_OF = {curve: name for name, curve in CURVE_OF.items()}


def iou_by_rule(folder: Path, of_run: Score) -> dict[Rule, float]:
    """Return the test IoU of the snapshot that each rule would have kept.

    Args:
        folder: of the run.
        of_run: its score.

    Returns:
        IoU by rule; a rule is left out where there are no snapshots or the curves lack what it reads.

    Raises:
        RunError: there are snapshots, but the curves are missing or damaged.
    """
    if not of_run.snapshots:
        return {}
    measured = {step: one for step, one in read_measured(folder / CURVES).items() if step in of_run.snapshots}
    chosen: dict[Rule, float] = {}
    for rule in RULES:
        validations = [score(rule, step, one) for step, one in sorted(measured.items())]
        best = Selector(rule).decide(validations).best
        if best is not None and any(one.score is not None for one in validations):
            chosen[rule] = of_run.snapshots[best]
    return chosen


def read_measured(curves: Path) -> dict[int, Measured]:
    """Return what was measured at each validation, from a run's curves.csv.

    Raises:
        RunError: the file is missing, cannot be read, or a line is not step,name,value.
    """
    try:
        lines = curves.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{curves} cannot be read ({error}): put it back, or train again") from error
    values: dict[int, dict[str, float]] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            step, name, value = line.split(",")
            if name in FIELD_OF:
                values.setdefault(int(step), {})[FIELD_OF[name]] = float(value)
        except ValueError as error:
            raise RunError(
                f"{curves} is damaged (line {number} is not step,name,value): put it back, or train again"
            ) from error
    return {step: Measured(**found) for step, found in values.items()}
