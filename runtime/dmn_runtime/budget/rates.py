"""How fast microscopes deliver: presets from what is published, or a scan's own settings."""

from dataclasses import dataclass
from math import isfinite

from dmn_runtime.errors import UsageError

MEGA = 1e6
_NS_PER_S = 1e9


@dataclass(frozen=True)
class Acquisition:
    """`name` for people, and voxels per second net: what lies on the disk by the time that it took."""

    name: str
    voxels_per_s: float


PRESETS = (
    Acquisition("FIB-SEM, the median", 0.15 * MEGA),
    Acquisition("FIB-SEM, the fastest", 3.1 * MEGA),
    Acquisition("single-beam SEM, 100 ns dwell", 10 * MEGA),
    Acquisition("multi-beam SEM", 280 * MEGA),
    Acquisition("beam-deflection TEM", 300 * MEGA),
)
"""Rates of published acquisitions, the slowest first.

FIB-SEM: voxels by duration, milling included, of 31 OpenOrganelle data sets (scan rates and durations in
Janelia's fibsem-metadata); the fastest is jrc_mus-kidney. Single beam: 1 / dwell time, without any overhead.
Multi-beam SEM: a terabyte an hour, one byte a pixel (Meirovitch et al. 2016, Matveev et al. 2017). TEM: 0.3
Gpixel/s net of one instrument (Zheng et al., Nature Communications 2024).
"""


@dataclass(frozen=True)
class Scan:
    """A scan's settings, None where they were not given.

    Attributes:
        dwell_ns: time of one beam on one pixel.
        beams: that scan side by side; 1 if not given.
        overhead: share of the whole time that is lost, 0 to 1, whatever the tiles are; 0 if not given.
        tile_px: edge of the square tile of one beam.
        overhead_s_per_tile: seconds that are lost at every tile: stage, settling, focus.
    """

    dwell_ns: float | None = None
    beams: int | None = None
    overhead: float | None = None
    tile_px: int | None = None
    overhead_s_per_tile: float | None = None


def acquisitions(rate_mvoxels_per_s: float | None, scan: Scan) -> tuple[Acquisition, ...]:
    """Return what the user asks about: a rate, a scan, or else the presets.

    Raises:
        UsageError: a setting is out of its range, or settings do not fit each other.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in vars(scan).items() if value is not None]
    if rate_mvoxels_per_s is not None:
        if given:
            raise UsageError(f"--rate is the net rate itself: leave out {', '.join(given)}")
        return (_stated(rate_mvoxels_per_s),)
    if scan.dwell_ns is not None:
        return (scanned(scan, scan.dwell_ns),)
    if given:
        raise UsageError(f"{', '.join(given)}: the dwell time of the scan is missing, give --dwell-ns, too")
    return PRESETS


def _stated(mvoxels_per_s: float) -> Acquisition:
    if not (isfinite(mvoxels_per_s) and mvoxels_per_s > 0):
        raise UsageError(f"--rate {mvoxels_per_s:g} is no speed: give Mvoxel/s above 0")
    return Acquisition("the rate given", mvoxels_per_s * MEGA)


def scanned(scan: Scan, dwell_ns: float) -> Acquisition:
    """Return the net rate of a scan: beams * n / (n * dwell + t) * (1 - overhead), n = tile_px ** 2.

    Every beam scans a square tile of n pixels at the same time, then t seconds are lost. Without t the size
    of the tile cancels out: beams / dwell * (1 - overhead).

    Args:
        scan: its settings.
        dwell_ns: its dwell time.

    Raises:
        UsageError: a setting is out of its range, or only one of tile and loss per tile is given.
    """
    beams, overhead = scan.beams or 1, scan.overhead or 0.0
    _check(scan, dwell_ns)
    s_per_px = dwell_ns / _NS_PER_S
    words = [f"{beams} beam{'s' if beams > 1 else ''}", f"{dwell_ns:g} ns dwell"]
    if scan.tile_px is not None and scan.overhead_s_per_tile is not None:
        s_per_px += scan.overhead_s_per_tile / scan.tile_px**2
        words.append(f"{scan.overhead_s_per_tile:g} s a tile of {scan.tile_px} px")
    if overhead:
        words.append(f"{100 * overhead:g} % overhead")
    return Acquisition(", ".join(words), beams / s_per_px * (1.0 - overhead))


def _check(scan: Scan, dwell_ns: float) -> None:
    if not (isfinite(dwell_ns) and dwell_ns > 0):
        raise UsageError(f"--dwell-ns {dwell_ns:g} is no dwell time: give ns above 0")
    if scan.beams is not None and scan.beams < 1:
        raise UsageError(f"--beams {scan.beams} scan nothing: give at least 1")
    if scan.overhead is not None and not 0.0 <= scan.overhead < 1.0:
        raise UsageError(f"--overhead {scan.overhead:g} is no share of the time: give 0 or more, below 1")
    if scan.tile_px is not None and scan.tile_px < 1:
        raise UsageError(f"--tile-px {scan.tile_px} is no tile: give at least 1")
    lost_s = scan.overhead_s_per_tile
    if lost_s is not None and not (isfinite(lost_s) and lost_s >= 0):
        raise UsageError(f"--overhead-s-per-tile {lost_s:g} is no time: give seconds, 0 or more")
    if (scan.tile_px is None) != (lost_s is None):
        raise UsageError(
            "the size of a tile matters by what is lost at each, and the other way round: "
            "give both --tile-px and --overhead-s-per-tile, or neither"
        )
