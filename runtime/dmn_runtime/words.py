"""Numbers in sentences: one tile and two tiles, the 1st and the 99th percentile."""

_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def counted(count: int, noun: str) -> str:
    """Return "1 tile" or "2 tiles"; `noun` is the singular of one that takes an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ordinal(number: float) -> str:
    """Return "1st", "2nd", "11th"; a fraction takes "th", as "0.5th"."""
    whole = int(number)
    teens = whole % 100 in (11, 12, 13)
    return f"{number:g}" + ("th" if teens or whole != number else _ENDINGS.get(whole % 10, "th"))
