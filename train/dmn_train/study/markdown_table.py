"""A table in Markdown."""

NOTHING = "-"
"""Stands for what is missing."""


def table(names: list[str], rows: list[list[str]]) -> str:
    """Write a heading and rows of as many cells."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def without_empty_columns(names: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns that hold nothing in any row; the first two stay."""
    kept = [place for place in range(len(names)) if place < 2 or any(row[place] != NOTHING for row in rows)]
    return [names[place] for place in kept], [[row[place] for place in kept] for row in rows]
