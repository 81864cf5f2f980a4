"""The seam score: does a voxel beside a tile's face come out as it would in the middle of another tile?

During the run a few blocks are looked at. Beside the faces of some of their tiles, and in the middle of the
tiles, the network is run once more on a small box whose own faces lie elsewhere; the two results are
compared in grey levels (1 = 1/255 of probability). Without seams both places differ by nothing but rounding.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.engines.base import BlockEngine, Engine
from dmn_runtime.geometry import Region, Triple, round_down, round_up
from dmn_runtime.normalise import spread
from dmn_runtime.plan import Block, Plan, Tile
from dmn_runtime.volume.base import Voxels

DEPTH_PX = 16  # how far from a face a voxel counts as beside it
REACH_PX = 64  # how far the faces of the second look are away
LENGTH_PX = 192  # of a face, around its middle
BLOCKS = 8
TILES_PER_BLOCK = 2


@dataclass(frozen=True)
class Probe:
    """One comparison on the working grid: `compared` lies in a tile's core and in `again`.

    `again` is what is computed a second time, its y and x on multiples of the stride.
    """

    at_face: bool
    compared: Region
    again: Region


@dataclass(frozen=True)
class Difference:
    """Absolute difference of two results, in grey levels of 1/255."""

    voxels: int
    max_grey: int
    mean_grey: float


@dataclass(frozen=True)
class SeamScore:
    """Disagreement beside tile faces against that in the tiles' middle."""

    faces: Difference
    interior: Difference

    def sentence(self) -> str:
        """Say the score in one line."""
        if self.faces.voxels == 0:
            return (
                "seam score: none, for this run computed no tile face inside the volume (a slice is one "
                "tile, or the blocks were finished before): try a smaller --tile"
            )
        return (
            f"seam score in grey levels (of 255): beside tile faces max {self.faces.max_grey}, mean "
            f"{self.faces.mean_grey:.5f} over {self.faces.voxels} voxels; inside tiles max "
            f"{self.interior.max_grey}, mean {self.interior.mean_grey:.5f} over {self.interior.voxels} voxels"
        )


def lay_probes(tile: Tile, working_shape: Triple, stride_px: int) -> tuple[Probe, ...]:
    """Lay the comparisons of one tile: one at each face inside the volume, one in the middle."""
    probes = [_middle(tile, stride_px)]
    for axis in (1, 2):
        if tile.core.start[axis] > 0:
            probes.append(_face(tile, axis, tile.core.start[axis], +1, stride_px))
        if tile.core.stop[axis] < working_shape[axis]:
            probes.append(_face(tile, axis, tile.core.stop[axis], -1, stride_px))
    return tuple(probes)


def largest_again_px(stride_px: int) -> int:
    """Return what no height or width of a probe's `again` exceeds."""
    return LENGTH_PX + 2 * (REACH_PX + stride_px)


def chosen_blocks(todo: Sequence[int]) -> frozenset[int]:
    """Return the blocks to look at, evenly spread over those that are to be computed."""
    return frozenset(todo[i] for i in spread(len(todo), 1, BLOCKS)) if todo else frozenset()


def chosen_tiles(block: Block) -> tuple[Tile, ...]:
    """Return the tiles to look at: of the block's middle slice, first and last."""
    middle = (block.core.start[0] + block.core.stop[0]) // 2
    tiles = [tile for tile in block.tiles if tile.core.start[0] <= middle < tile.core.stop[0]]
    return tuple(tiles[i] for i in spread(len(tiles), 1, TILES_PER_BLOCK))


class SeamCheck:
    """Collects the score while the stream runs; `observe` may be called from several threads."""

    def __init__(
        self,
        plan: Plan,
        todo: Sequence[int],
        engine: Engine | BlockEngine,
        read: Callable[[Region], Voxels],
    ) -> None:
        """Take the run's plan, blocks to compute and engine, and a reader of regions of the working grid."""
        self._plan = plan
        self._engine = engine
        self._read = read
        self._blocks = chosen_blocks(todo)
        self._lock = threading.Lock()
        self._differences: dict[bool, list[NDArray[np.uint8]]] = {True: [], False: []}

    def observe(self, block: Block, probability: NDArray[np.uint8]) -> None:
        """Look at one finished block: `probability` is uint8 zyx over `block.core`."""
        if block.index not in self._blocks:
            return
        for tile in chosen_tiles(block):
            for probe in lay_probes(tile, self._plan.working_shape, self._plan.footprint.stride_px):
                again = self._engine.segment(self._read(probe.again.grown(self._plan.footprint.margin)))
                first = probability[probe.compared.relative_to(block.core.start).slices]
                second = again[probe.compared.relative_to(probe.again.start).slices]
                difference = np.abs(first.astype(np.int16) - second).astype(np.uint8)
                with self._lock:
                    self._differences[probe.at_face].append(difference.ravel())

    def score(self) -> SeamScore:
        """Return the score of what has been seen."""
        return SeamScore(_summary(self._differences[True]), _summary(self._differences[False]))


def _face(tile: Tile, axis: int, at: int, inward: int, stride_px: int) -> Probe:
    """Compare a strip of `DEPTH_PX` on the inner side of the face at coordinate `at`."""
    depth = min(DEPTH_PX, tile.core.shape[axis])
    spans = _middle_spans(tile, LENGTH_PX)
    spans[axis] = (at, at + depth) if inward > 0 else (at - depth, at)
    return Probe(True, _region(spans), _around(spans, stride_px))


def _middle(tile: Tile, stride_px: int) -> Probe:
    spans = _middle_spans(tile, REACH_PX)
    return Probe(False, _region(spans), _around(spans, stride_px))


def _middle_spans(tile: Tile, most: int) -> dict[int, tuple[int, int]]:
    """Return the middle half of the tile's first slice, at most `most` px, away from all its faces."""
    spans = {0: (tile.core.start[0], tile.core.start[0] + 1)}
    for axis in (1, 2):
        half = (tile.core.shape[axis] + 1) // 2
        spans[axis] = _centred(tile.core.start[axis], tile.core.stop[axis], min(most, half))
    return spans


def _centred(start: int, stop: int, most: int) -> tuple[int, int]:
    length = min(most, stop - start)
    first = start + (stop - start - length) // 2
    return first, first + length


def _region(spans: dict[int, tuple[int, int]]) -> Region:
    return Region((spans[0][0], spans[1][0], spans[2][0]), (spans[0][1], spans[1][1], spans[2][1]))


def _around(spans: dict[int, tuple[int, int]], stride_px: int) -> Region:
    """Return the box whose faces are `REACH_PX` away, y and x on multiples of the stride."""
    grown = {0: spans[0]}
    for axis in (1, 2):
        start, stop = spans[axis]
        grown[axis] = (round_down(start - REACH_PX, stride_px), round_up(stop + REACH_PX, stride_px))
    return _region(grown)


def _summary(parts: list[NDArray[np.uint8]]) -> Difference:
    if not parts:
        return Difference(0, 0, 0.0)
    grey = np.concatenate(parts)
    return Difference(grey.size, int(grey.max()), float(grey.mean()))
