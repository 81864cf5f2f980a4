"""Which file of a folder is which slice: by the number in its name, so that the order of arrival is free."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.slices import KIND_OF_SUFFIX

_DIGITS = re.compile(r"[0-9]+")
_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".crdownload")


def is_slice_name(name: str) -> bool:
    """Tell whether a name is that of a finished slice: a readable suffix, not hidden, not temporary."""
    path = PurePath(name)
    inner = PurePath(path.stem).suffix.lower()  # as in slice_0001.part.tif
    return (
        path.suffix.lower() in KIND_OF_SUFFIX
        and not name.startswith((".", "~"))
        and not path.stem.endswith("~")
        and inner not in _TEMPORARY_SUFFIXES
    )


@dataclass(frozen=True)
class Series:
    """How the slices of one acquisition are named.

    Attributes:
        kind: "TIFF", "PNG" or "JPEG".
        texts: what stands before, between and behind the numbers of a name, casefolded.
        at: which of the numbers counts the slices.
        first: the number of slice 0.
    """

    kind: str
    texts: tuple[str, ...]
    at: int
    first: int

    def index(self, name: str) -> int | None:
        """Return which slice a file is; None where it is none of this series or lies before its first."""
        if not is_slice_name(name) or _texts(name) != self.texts:
            return None
        index = _numbers(name)[self.at] - self.first
        return index if index >= 0 else None


def find_series(folder: str, names: Collection[str], first: int | None) -> Series:
    """Return the series to which all `names` belong.

    Of several numbers in the names the one counts that is different in every name and spans least; in a lone
    name the last one.

    Args:
        folder: for people.
        names: of slices (`is_slice_name`); at least one.
        first: the number of slice 0; None takes the smallest.

    Raises:
        VolumeError: the names are of several kinds or patterns, or no number tells them apart.
    """
    kinds = {KIND_OF_SUFFIX[PurePath(name).suffix.lower()] for name in names}
    if len(kinds) > 1:
        raise VolumeError(
            f"{folder} holds {' and '.join(sorted(kinds))} files, but slices of one kind are wanted: "
            "move the others away"
        )
    patterns = {_texts(name): name for name in sorted(names)}
    if len(patterns) > 1:
        one, other = sorted(patterns.values())[:2]
        raise VolumeError(
            f"{folder} holds {one} and {other}, which are not named alike, but the slices of one acquisition "
            "are wanted: move the others away"
        )
    numbers = [_numbers(name) for name in names]
    spans = {
        max(column) - min(column): at
        for at, column in enumerate(zip(*numbers, strict=True))
        if len(set(column)) == len(column)
    }
    if not spans:
        raise VolumeError(
            f"{folder} holds {min(names)}, whose name has no number that counts the slices: name them like "
            "slice_0001.tif"
        )
    at = spans[min(spans)]
    return Series(
        kinds.pop(),
        next(iter(patterns)),
        at,
        min(row[at] for row in numbers) if first is None else first,
    )


def _texts(name: str) -> tuple[str, ...]:
    return tuple(_DIGITS.split(name.casefold()))


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in _DIGITS.findall(name))
