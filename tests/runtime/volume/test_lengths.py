"""Units as files write them."""

import pytest

from dmn_runtime.volume.lengths import nm_per, spacing


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nm", 1), ("nanometer", 1), ("nanometers", 1), ("Nanometre", 1), (" nm ", 1),
        ("um", 1e3), ("µm", 1e3), ("μm", 1e3), ("\\u00B5m", 1e3), ("micron", 1e3), ("microns", 1e3),
        ("micrometer", 1e3), ("mm", 1e6), ("cm", 1e7), ("m", 1e9), ("inch", 2.54e7),
        ("Å", 0.1), ("\u212b", 0.1), ("\\u00C5", 0.1), ("angstrom", 0.1), ("pm", 1e-3),
        ("pixel", None), ("pixels", None), ("", None), ("s", None), ("reference frame", None),
    ],
)  # fmt: skip
def test_units(unit: str, nm: float | None) -> None:
    assert nm_per(unit) == nm


@pytest.mark.parametrize(
    ("zyx", "slices", "expected"),
    [
        ((40.0, 5.0, 4.0), 9, (40.0, 5.0, 4.0)),
        ((None, 5.0, 4.0), 9, None),
        ((None, 5.0, 4.0), 1, (5.0, 5.0, 4.0)),
        ((40.0, None, 4.0), 9, None),
        ((40.0, 5.0, 0.05), 9, None),
        ((100_001.0, 5.0, 5.0), 9, None),
        ((float("nan"), 5.0, 5.0), 9, None),
    ],
)
def test_spacing(
    zyx: tuple[float | None, float | None, float | None], slices: int, expected: tuple[float, ...] | None
) -> None:
    assert spacing(*zyx, slices) == expected
