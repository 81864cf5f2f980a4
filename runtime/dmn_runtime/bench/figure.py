"""One measured quantity over the rounds of a bench."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """Median, smallest and largest of the rounds; the unit is in the figure's name."""

    median: float
    min: float
    max: float


def figure_of(values: Iterable[float]) -> Figure:
    """Return the figure of at least one value."""
    found = sorted(values)
    return Figure(median(found), found[0], found[-1])
