"""Real network input for the exporter: tiles to examine a network on, and others to calibrate it with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import DmnError, RunError
from dmn_runtime.geometry import Triple
from dmn_runtime.normalise import spread
from dmn_train.data import cut_window
from dmn_train.file_times import fingerprint_holds_times
from dmn_train.material import Origin, unaugmented
from dmn_train.run import Run
from dmn_train.stacks import Stack, TargetStack

Tiles = NDArray[np.float32]


@dataclass(frozen=True)
class RealTiles:
    """Network input from a run's volumes, float32 nchw.

    Attributes:
        golden: what a network is examined on: of every domain of the run alike.
        calibration: what arithmetic of fewer bits is fitted to: of the target, if the run has one.
    """

    golden: Tiles
    calibration: Tiles


def real_tiles(run: Run, golden: int, calibration: int, edge_px: int) -> RealTiles:
    """Cut tiles out of a run's volumes, on the working grid, normalised as in training.

    They are spread evenly and lie inside, or are reflected where a volume is smaller than a tile or so little
    larger that too few places are inside; the same call gives the same tiles. No centre serves both purposes;
    in small volumes tiles of the two may overlap.

    Args:
        run: a finished run.
        golden: how many to examine on, at least 1.
        calibration: how many to calibrate with, at least 1.
        edge_px: their height and width.

    Raises:
        RunError: a volume is gone or is not the one that the run was trained on.
    """
    stacks = _stacks(run, golden + calibration)
    targets = [stack for stack in stacks if isinstance(stack, TargetStack)]
    sources = [stack for stack in stacks if not isinstance(stack, TargetStack)]
    both = [one for pair in zip(targets, sources, strict=False) for one in pair] or stacks
    both += targets[len(sources) :]
    context = run.spec.context_slices
    total = golden + calibration
    return RealTiles(
        _cut(both, range(golden), total, context, edge_px),
        _cut(targets or sources, range(golden, total), total, context, edge_px),
    )


def _stacks(run: Run, most: int) -> list[Stack | TargetStack]:
    try:
        found = unaugmented(run.placed, most)
    except DmnError as error:
        raise RunError(f"a volume of this run cannot be read ({error}): put it back") from error
    recorded: list[dict[str, Any]] = run.facts["data"]
    for role in ("source", "target"):
        seen = [origin for origin in recorded if origin["role"] == role]
        here = [origin for _, origin in found if origin.role == role]
        for then, now in zip(seen, here, strict=False):
            if not _is_same(then, now, run.placed.locate(now.name)):
                raise RunError(
                    f"the {role} volume {now.name} is not the one that this run was trained on: put it back"
                )
    return [stack for stack, _ in found]


def _is_same(then: dict[str, Any], now: Origin, path: str) -> bool:
    """Tell whether a volume may be the one that a run recorded.

    A large volume's fingerprint holds file times, which a copy does not keep: there the shape and the map of
    intensities, which is made of the content, must agree.
    """
    if then["fingerprint"] == now.fingerprint:
        return True
    alike = list(then["shape"]) == list(now.shape) and then["map"] == asdict(now.map)
    return alike and fingerprint_holds_times(path)


def _cut(
    stacks: Sequence[Stack | TargetStack], indices: range, total: int, context: int, edge_px: int
) -> Tiles:
    tiles, places = [], [_centres(stack.grey.shape, total, edge_px) for stack in stacks]
    for index in indices:
        which = index % len(stacks)
        stack, centre = stacks[which], places[which][index]
        tiles.append(stack.table[cut_window(stack.grey, centre, context, edge_px, edge_px)])
    return np.stack(tiles)


def _centres(shape: Sequence[int], total: int, edge_px: int) -> list[Triple]:
    """Return centres around which tiles lie inside; where there are too few of these, such as are reflected.

    No two tiles may be the same, or a network is examined on what it was calibrated with.
    """
    inside = [_spread_centre(shape, index, total, edge_px) for index in range(total)]
    if len(set(inside)) == total:
        return inside
    return [_spread_centre(shape, index, total, 1) for index in range(total)]


def _spread_centre(shape: Sequence[int], index: int, total: int, edge_px: int) -> Triple:
    """Visit slices at even distances in a scattered order while y and x visit a lattice."""
    z, y, x = shape
    share_y, share_x = (index * 0.6180339887) % 1.0, (index * 0.7548776662) % 1.0
    zs = spread(z, 1, total)
    return (zs[(index * _step(total)) % len(zs)], _inside(share_y, y, edge_px), _inside(share_x, x, edge_px))


def _inside(share: float, extent: int, edge_px: int) -> int:
    """Return a centre around which a tile lies inside; of a smaller volume any place."""
    return int(share * extent) if extent < edge_px else edge_px // 2 + int(share * (extent - edge_px + 1))


def _step(total: int) -> int:
    """Return a stride that visits every one of `total` places once, about 0.38 of the way at a time."""
    step = max(1, round(0.381966 * total))
    while np.gcd(step, total) != 1:
        step += 1
    return step
