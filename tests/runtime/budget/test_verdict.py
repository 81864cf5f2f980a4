"""Keeps up, lags or cannot be said: all sides of the lines, on paper."""

import pytest

from dmn_runtime.bench.figure import Figure
from dmn_runtime.budget.rates import Acquisition
from dmn_runtime.budget.verdict import Speed, Verdict, verdict

RATE = Acquisition("a microscope", 4e6)


def alike(voxels_per_s: float) -> Figure:
    return Figure(voxels_per_s, voxels_per_s, voxels_per_s)


@pytest.mark.parametrize(
    ("measured", "keeps_up", "ratio", "behind_h"),
    [
        (8e6, True, 2.0, 0.0),
        (4e6, True, 1.0, 0.0),
        (3e6, False, 0.75, 8.0),  # 24 h x 1 Mvoxel/s are left, at 3 Mvoxel/s
        (2e6, False, 0.5, 24.0),
        (1e6, False, 0.25, 72.0),
    ],
)
def test_both_sides_of_the_line(measured: float, keeps_up: bool, ratio: float, behind_h: float) -> None:
    found = verdict(RATE, Speed(alike(measured)))
    assert found == Verdict(RATE, keeps_up, ratio, pytest.approx(behind_h), sure=True)


@pytest.mark.parametrize(
    ("measured", "keeps_up", "sure"),
    [
        (Figure(5e6, 4e6, 6e6), True, True),
        (Figure(5e6, 3.9e6, 6e6), True, False),
        (Figure(3e6, 2e6, 4e6), False, False),
        (Figure(3e6, 2e6, 3.7e6), False, False),  # its beginning and end may have cost it the rest
        (Figure(3e6, 2e6, 3.6e6), False, True),
    ],
)
def test_rounds_that_disagree_are_told(measured: Figure, keeps_up: bool, sure: bool) -> None:
    found = verdict(RATE, Speed(measured))
    assert (found.keeps_up, found.sure) == (keeps_up, sure)


@pytest.mark.parametrize(
    ("measured", "at_most", "keeps_up", "behind_h"),
    [
        (5.0e6, 9.0e6, True, 0.0),
        (4.9e6, 9.0e6, None, None),  # near
        (1.0e6, 3.2e6, None, None),
        (1.0e6, 3.1e6, False, None),  # the network alone is too slow; how far behind is not known
    ],
)
def test_a_short_measurement_decides_what_its_bounds_decide(
    measured: float, at_most: float, keeps_up: bool | None, behind_h: float | None
) -> None:
    found = verdict(RATE, Speed(alike(measured), at_most))
    assert (found.keeps_up, found.behind_h, found.ratio) == (keeps_up, behind_h, measured / 4e6)
