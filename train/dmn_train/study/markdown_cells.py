"""Numbers of several seeds as cells of a Markdown table."""

from dmn_train.study.markdown_table import NOTHING
from dmn_train.study.summary import Spread


def spread_cell(spread: Spread | None, *, signed: bool = False, digits: int = 3) -> str:
    """Return mean ± standard deviation (how many), the latter left out for one number; a dash for none."""
    if spread is None:
        return NOTHING
    sd = "" if spread.sd is None else f" ± {spread.sd:.{digits}f}"
    return f"{number(spread.mean, signed=signed, digits=digits)}{sd} ({spread.n})"


def number(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """Return a number of fixed decimals, with its sign where it is a difference."""
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
