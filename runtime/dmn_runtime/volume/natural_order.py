"""File names in the order that people count: slice_2 before slice_10."""

import re

_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Return a sort key by which runs of digits compare as numbers and the rest as text."""
    parts = tuple(
        (0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in _DIGITS.split(name) if part
    )
    return parts, name
