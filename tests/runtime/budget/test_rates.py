"""How fast microscopes deliver."""

from math import inf, nan

import pytest

from dmn_runtime.budget.rates import PRESETS, Scan, acquisitions
from dmn_runtime.errors import UsageError


def test_the_presets() -> None:
    assert acquisitions(None, Scan()) == PRESETS
    assert [one.voxels_per_s for one in PRESETS] == [0.15e6, 3.1e6, 10e6, 280e6, 300e6]


@pytest.mark.parametrize(
    ("scan", "name", "voxels_per_s"),
    [
        (Scan(100.0), "1 beam, 100 ns dwell", 10e6),
        (Scan(50.0, beams=61), "61 beams, 50 ns dwell", 1220e6),
        (Scan(1000.0, overhead=0.25), "1 beam, 1000 ns dwell, 25 % overhead", 0.75e6),
        # 1000 x 1000 px of 1000 ns are 1 s, and 1 s is lost: half the speed
        (Scan(1000.0, None, None, 1000, 1.0), "1 beam, 1000 ns dwell, 1 s a tile of 1000 px", 0.5e6),
        # tiles of twice the edge: 4 s, and the same second
        (
            Scan(1000.0, 10, 0.5, 2000, 1.0),
            "10 beams, 1000 ns dwell, 1 s a tile of 2000 px, 50 % overhead",
            4e6,
        ),
    ],
)
def test_a_scan(scan: Scan, name: str, voxels_per_s: float) -> None:
    [found] = acquisitions(None, scan)
    assert found.name == name
    assert found.voxels_per_s == pytest.approx(voxels_per_s)


def test_a_rate() -> None:
    [found] = acquisitions(2.5, Scan())
    assert (found.name, found.voxels_per_s) == ("the rate given", 2.5e6)


@pytest.mark.parametrize(
    ("rate", "scan", "words"),
    [
        (0.0, Scan(), "--rate 0 is no speed"),
        (nan, Scan(), "--rate nan is no speed"),
        (1.0, Scan(100.0, 2), "--rate is the net rate itself: leave out --dwell-ns, --beams"),
        (None, Scan(beams=2, tile_px=9), "--beams, --tile-px: the dwell time of the scan is missing"),
        (None, Scan(0.0), "--dwell-ns 0 is no dwell time"),
        (None, Scan(inf), "--dwell-ns inf is no dwell time"),
        (None, Scan(1.0, beams=0), "--beams 0 scan nothing"),
        (None, Scan(1.0, overhead=1.0), "--overhead 1 is no share"),
        (None, Scan(1.0, overhead=-0.1), "--overhead -0.1 is no share"),
        (None, Scan(1.0, tile_px=0, overhead_s_per_tile=1.0), "--tile-px 0 is no tile"),
        (None, Scan(1.0, tile_px=9, overhead_s_per_tile=-1.0), "--overhead-s-per-tile -1 is no time"),
        (None, Scan(1.0, tile_px=9), "give both --tile-px and --overhead-s-per-tile"),
        (None, Scan(1.0, overhead_s_per_tile=1.0), "give both --tile-px and --overhead-s-per-tile"),
    ],
)
def test_what_makes_no_sense_is_refused(rate: float | None, scan: Scan, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        acquisitions(rate, scan)
