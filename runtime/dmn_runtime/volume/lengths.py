"""Units of length and voxel sizes as files write them, in nm."""

from math import isfinite

from dmn_runtime.geometry import Spacing

_NM_PER_UNIT = {
    "pm": 1e-3,
    "picometer": 1e-3,
    "å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "centimetre": 1e7,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "inch": 2.54e7,
    "in": 2.54e7,
}

PLAUSIBLE_NM = (0.1, 100_000.0)
"""Voxel edges outside are not those of an electron microscope and are taken as unknown."""


def nm_per(unit: str) -> float | None:
    """Return how many nm a unit is; None for "pixel" and whatever is not a length.

    Knows symbols and English names, also in the plural, with either micro sign, and as ImageJ escapes it.
    """
    word = unit.strip().replace("\\u00B5", "u").replace("\u00b5", "u").replace("\u03bc", "u")
    word = word.replace("\\u00C5", "å").casefold()
    if word in _NM_PER_UNIT:
        return _NM_PER_UNIT[word]
    return _NM_PER_UNIT.get(word.removesuffix("s"))


def is_plausible(nm: float, most_nm: float = PLAUSIBLE_NM[1]) -> bool:
    """Tell whether a length may be the edge of an EM voxel."""
    return isfinite(nm) and PLAUSIBLE_NM[0] <= nm <= most_nm


def spacing(z: float | None, y: float | None, x: float | None, slices: int) -> Spacing | None:
    """Return a voxel size (nm, zyx) if all of it is known and plausible, else None.

    The thickness of a lone slice does nothing to its segmentation: where it is unknown, it is taken as `y`.
    A stack of unknown slice distance has no known voxel size.
    """
    if z is None and slices == 1:
        z = y
    if z is None or y is None or x is None:
        return None
    return (z, y, x) if all(is_plausible(nm) for nm in (z, y, x)) else None
