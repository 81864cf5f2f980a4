"""A bound on the foreground's share, as a share or in times of the source's."""

import re
from typing import Annotated

from pydantic import AfterValidator

_TIMES = re.compile(r"(\d+(?:\.\d+)?)x")


def checked_bound(bound: float | str) -> float | str:
    """Return a bound as it is.

    Raises:
        ValueError: it bounds no share.
    """
    within = 0.0 < bound < 1.0 if isinstance(bound, float) else _times(bound) > 0.0
    if not within:
        raise ValueError(
            f"{bound!r} bounds no share, wanted a share above 0 and below 1, or times the source's, as "
            '"1.5x"'
        )
    return bound


def _times(text: str) -> float:
    """Return the number before the x; 0 of a text that is none."""
    found = _TIMES.fullmatch(text)
    return float(found[1]) if found else 0.0


ForegroundBound = Annotated[float | str, AfterValidator(checked_bound)]
"""A share of the pixels above 0 and below 1, or "1.5x": times the share of the source's labelled voxels."""


def bounded_share(bound: float | str | None, source_share: float) -> float | None:
    """Return the share of pixels that may be foreground at most; None is no bound.

    Args:
        bound: a `ForegroundBound`, or None.
        source_share: share of the source's labelled voxels that are foreground, above 0.
    """
    share = _times(bound) * source_share if isinstance(bound, str) else bound
    return None if share is None or share >= 1.0 else share
