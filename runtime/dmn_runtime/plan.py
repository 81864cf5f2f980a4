"""The tile plan: blocks (the unit of I/O) and tiles (the unit of the network), integers only.

    output grid     the grid that is written: the volume's own, or the working grid
    working grid    the grid that the network sees
    block           a box of the output grid; blocks lie on multiples of the block shape and partition it
    core            what a block or a tile must deliver, on the working grid
    inner           a tile's core grown to multiples of the stride: what the engine returns
    read            inner plus halo (y, x) and context slices (z): what the engine is given; it may reach
                    over the volume's edge, where it is reflected

        read  . . . . . . . . . . . .
              .   inner - - - - -   .
              .   |  core ====  |   .      <- halo -> around inner on all four sides
              .   |       ====  |   .
              .   - - - - - - - -   .
              . . . . . . . . . . . .

Invariants (each is a property test): outputs partition the output grid; the cores of a block's tiles
partition the block's core; every read is a multiple of the stride and starts on one; core plus halo lies in
read. docs/plan.md is the page of law.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2, prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import PlanError
from dmn_runtime.geometry import Region, Spacing, Triple, ceil_div, round_down, round_up
from dmn_runtime.resample import Resampling, inverse, to_working

Grid = Literal["volume", "working"]

TILE_EDGE_PX = 1024
BLOCK_SLICES = 8
BLOCK_EDGE_PX = 1024
MOST_SCALE = 32
"""Largest ratio of working to own voxel size, or the other way round; beyond it a unit was mistaken."""
_BLOCK_MULTIPLE_PX = 256


@dataclass(frozen=True)
class Footprint:
    """What a network needs around the pixel it decides on.

    `stride_px`: tile origins must be multiples of it; `halo_px`: pixels needed on every side of a core in y
    and x, a multiple of the stride; `context_slices`: neighbours needed on both sides in z.
    """

    stride_px: int
    halo_px: int
    context_slices: int

    @property
    def margin(self) -> Triple:
        """Context and halo as a margin, zyx."""
        return (self.context_slices, self.halo_px, self.halo_px)


@dataclass(frozen=True)
class Tile:
    """One call of the network: `core` is wanted of `inner`, which the engine returns (working grid)."""

    core: Region
    inner: Region

    def read(self, footprint: Footprint) -> Region:
        """Return what the engine must be given."""
        return self.inner.grown(footprint.margin)


@dataclass(frozen=True)
class Block:
    """One unit of I/O: `output` on the output grid, the rest on the working grid."""

    index: int
    output: Region
    core: Region
    read: Region
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Plan:
    """The whole layout of a run; `block_at(i)` for i in range(len(plan)) are its blocks, x fastest.

    Attributes:
        forward: from the volume's grid to the working grid.
        back: from the working grid to the output grid (the identity for `grid` "working").
        footprint: of the network.
        block: shape of a block on the output grid, zyx.
        tile: largest core of a tile on the working grid, zyx; y and x are multiples of the stride.
        grid: which grid is written.
    """

    forward: Resampling
    back: Resampling
    footprint: Footprint
    block: Triple
    tile: Triple
    grid: Grid

    @property
    def output_shape(self) -> Triple:
        """Voxels of the output grid, zyx."""
        return self.back.shape_out

    @property
    def working_shape(self) -> Triple:
        """Voxels of the working grid, zyx."""
        return self.forward.shape_out

    @property
    def counts(self) -> Triple:
        """Blocks along z, y and x."""
        z, y, x = (ceil_div(n, b) for n, b in zip(self.output_shape, self.block, strict=True))
        return (z, y, x)

    def __len__(self) -> int:
        """Return the number of blocks."""
        z, y, x = self.counts
        return z * y * x

    def block_at(self, index: int) -> Block:
        """Lay out block `index`."""
        z, rest = divmod(index, self.counts[1] * self.counts[2])
        y, x = divmod(rest, self.counts[2])
        origin = (z * self.block[0], y * self.block[1], x * self.block[2])
        stop = [min(o + b, n) for o, b, n in zip(origin, self.block, self.output_shape, strict=True)]
        output = Region(origin, (stop[0], stop[1], stop[2]))
        core = self.back.source_of(output)
        tiles = lay_tiles(core, self.tile, self.footprint.stride_px)
        return Block(index, output, core, _read_of(core, self.footprint), tiles)

    def tile_count(self) -> int:
        """Return the number of tiles of all blocks, from one row of blocks along each axis."""
        _, rows, columns = self.counts
        along = [(self.counts[0], rows * columns), (rows, columns), (columns, 1)]
        first = len(self.block_at(0).tiles)
        return (
            prod(sum(len(self.block_at(i * step).tiles) for i in range(n)) for n, step in along) // first**2
        )

    def blocks(self) -> Iterator[Block]:
        """Yield every block in order."""
        return (self.block_at(index) for index in range(len(self)))

    def to_json(self) -> dict[str, Any]:
        """Return all that decides the output's bits, for the ledger and the report."""
        return {
            "volume_shape": list(self.forward.shape_in),
            "working_shape": list(self.working_shape),
            "output_shape": list(self.output_shape),
            "scale_yx": [self.forward.y.scale, self.forward.x.scale],
            "grid": self.grid,
            "block": list(self.block),
            "tile": list(self.tile),
            "stride_px": self.footprint.stride_px,
            "halo_px": self.footprint.halo_px,
            "context_slices": self.footprint.context_slices,
        }


def make_plan(
    shape: Triple,
    voxel_nm: Spacing,
    working_nm: float | None,
    footprint: Footprint,
    *,
    grid: Grid = "volume",
    tile_px: int | None = None,
    block: Triple | None = None,
) -> Plan:
    """Lay out a run.

    Args:
        shape: voxels of the volume, zyx.
        voxel_nm: its voxel size in nm, zyx (any value where `working_nm` is None).
        working_nm: in-plane voxel size that the network works at; None = the volume's own.
        footprint: of the network.
        grid: write on the volume's own grid or on the working grid.
        tile_px: largest edge of a tile's core in y and x, rounded up to the stride; None = 1024 px.
        block: shape of a block on the output grid, zyx; None chooses.

    Raises:
        PlanError: the tile or block is not positive, halo and stride do not fit each other, or the
            voxel sizes are too far apart.
    """
    if footprint.halo_px % footprint.stride_px:
        raise PlanError(
            f"the halo of {footprint.halo_px} px is no multiple of the stride of {footprint.stride_px} px: "
            "export the package again"
        )
    for axis, nm in (("y", voxel_nm[1]), ("x", voxel_nm[2])):
        if working_nm is not None and not 1 / MOST_SCALE <= working_nm / nm <= MOST_SCALE:
            raise PlanError(
                f"voxels of {nm:g} nm along {axis} and a network that works at {working_nm:g} nm are more "
                f"than a factor of {MOST_SCALE} apart: check the voxel size"
            )
    forward = to_working(shape, voxel_nm, working_nm)
    back = inverse(forward) if grid == "volume" else _identity(forward.shape_out)
    edge = TILE_EDGE_PX if tile_px is None else tile_px
    chosen = _default_block(back) if block is None else block
    if edge < 1 or min(chosen) < 1:
        raise PlanError(f"a tile of {edge} px and blocks of {chosen} voxels: both must be at least 1")
    tile = (1, round_up(edge, footprint.stride_px), round_up(edge, footprint.stride_px))
    return Plan(forward, back, footprint, _clipped(chosen, back.shape_out), tile, grid)


def lay_tiles(core: Region, tile: Triple, stride_px: int) -> tuple[Tile, ...]:
    """Cut `core` into tiles of nearly equal size, none larger than `tile`; x fastest."""
    axes = [
        _lay_axis(core.start[0], core.stop[0], tile[0], 1),
        _lay_axis(core.start[1], core.stop[1], tile[1], stride_px),
        _lay_axis(core.start[2], core.stop[2], tile[2], stride_px),
    ]
    return tuple(
        Tile(Region((z[0], y[0], x[0]), (z[1], y[1], x[1])), Region((z[2], y[2], x[2]), (z[3], y[3], x[3])))
        for z in axes[0]
        for y in axes[1]
        for x in axes[2]
    )


def reflect(start: int, stop: int, n: int) -> NDArray[np.intp]:
    """Return the index in [0, n) that each position of [start, stop) mirrors to, edge pixels not repeated."""
    if n == 1:
        return np.zeros(stop - start, np.intp)
    position = np.arange(start, stop) % (2 * (n - 1))
    return np.minimum(position, 2 * (n - 1) - position).astype(np.intp)


def _lay_axis(start: int, stop: int, most: int, multiple: int) -> list[tuple[int, int, int, int]]:
    low, high = round_down(start, multiple), round_up(stop, multiple)
    count = ceil_div(high - low, most)
    edge = round_up(ceil_div(high - low, count), multiple)
    cuts = [*range(low, high, edge), high]
    return [(max(a, start), min(b, stop), a, b) for a, b in pairwise(cuts)]


def _read_of(core: Region, footprint: Footprint) -> Region:
    stride = footprint.stride_px
    start = (core.start[0], round_down(core.start[1], stride), round_down(core.start[2], stride))
    stop = (core.stop[0], round_up(core.stop[1], stride), round_up(core.stop[2], stride))
    return Region(start, stop).grown(footprint.margin)


def _identity(shape: Triple) -> Resampling:
    return to_working(shape, (1.0, 1.0, 1.0), None)


def _default_block(back: Resampling) -> Triple:
    # A working tile should fill a block: with a coarser working grid the block on the output grid is larger,
    # with a finer one it is smaller, or its core would grow with the square of the ratio.
    return (BLOCK_SLICES, _block_edge(back.y.scale), _block_edge(back.x.scale))


def _block_edge(scale: float) -> int:
    if scale <= 0.5:
        return 2 * BLOCK_EDGE_PX
    return BLOCK_EDGE_PX >> max(0, ceil(log2(scale)))


def _clipped(block: Triple, shape: Triple) -> Triple:
    """Cut a block to a small volume, in y and x to a multiple that pyramids can halve."""
    return (
        min(block[0], round_up(shape[0], 2) if shape[0] > 1 else 1),
        min(block[1], round_up(shape[1], _BLOCK_MULTIPLE_PX)),
        min(block[2], round_up(shape[2], _BLOCK_MULTIPLE_PX)),
    )
