"""A bound on the foreground's share, as a share or in times of the source's."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_TIMES = re.compile(r"([0-9]+(?:\.[0-9]+)?)x")


def checked_bound(bound: object) -> float | str:
    """Return a bound as it is.

    Args:
        bound: a share of the pixels above 0 and below 1, or "1.5x": times that of the source, above 0.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(bound, str) and _times(bound) > 0.0:
        return bound
    if isinstance(bound, float) and 0.0 < bound < 1.0:
        return bound
    raise ValueError(
        f'{bound!r} bounds no share, wanted a share above 0 and below 1, or times the source\'s, as "1.5x"'
    )


def _times(text: str) -> float:
    """Return the number before the x; 0 of a text that is none."""
    found = _TIMES.fullmatch(text)
    return float(found[1]) if found else 0.0


ForegroundBound = Annotated[float | str, BeforeValidator(checked_bound)]
"""A share of the pixels above 0 and below 1, or "1.5x": times the share of the source's labelled voxels."""


def bounded_share(bound: float | str | None, source_share: float) -> float | None:
    """Return the share of pixels that may be foreground at most; None is no bound, as is 1 or more.

    Args:
        bound: a `ForegroundBound`, or None.
        source_share: share of the source's labelled voxels that are foreground, above 0.
    """
    share = _times(bound) * source_share if isinstance(bound, str) else bound
    return None if share is None or share >= 1.0 else share
