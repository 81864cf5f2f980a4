"""The columns of a report that say what each arm cost."""

from collections.abc import Iterable

from dmn_train.study.budget import Budget
from dmn_train.study.markdown_table import NOTHING
from dmn_train.study.tables import ArmLine

BUDGET_NAMES = ["steps", "hours", "network", "multiply-adds per px", "weights"]
BUDGET_READING = """\
Steps: of the optimiser, of every run that had to be trained for a line, first to last, those that it starts
from and learns from among them. Hours: of all of them together, mean over seeds; ≥ is a lower bound: of a run
that was stopped and went on the seconds of the last stretch alone are known, and of a run that is not here
nothing is. Multiply-adds: of the network's convolutions, for each pixel of its input. A column that would be
empty is left out."""


def budget_cells(budget: Budget | None) -> list[str]:
    """Return the cells of `BUDGET_NAMES`."""
    if budget is None:
        return [NOTHING] * len(BUDGET_NAMES)
    return [
        f"{'' if budget.steps_known else '≥ '}{budget.steps}",
        f"{'' if budget.hours_known else '≥ '}{budget.hours:.2f}",
        budget.network,
        f"{budget.multiply_adds_per_px:,.0f}",
        f"{budget.weights:,}",
    ]


def hours_note(lines: Iterable[ArmLine]) -> str:
    """Say on what the hours of a table were spent; "" without a run."""
    arms: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        if line.budget is not None:
            arms.setdefault(line.budget.devices, []).append(line.arm.words)
    if len(arms) == 1:
        return f"Hours: on {' and '.join(next(iter(arms)))}."
    spent = [f"on {' and '.join(devices)} ({', '.join(names)})" for devices, names in arms.items()]
    return f"Hours: {'; '.join(spent)}." if spent else ""
