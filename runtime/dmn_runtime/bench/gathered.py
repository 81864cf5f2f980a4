"""A volume's tiles, gathered in memory: what the network alone and the kernels alone are run on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.bench.rounds import Extent
from dmn_runtime.engines.base import Tiles
from dmn_runtime.geometry import Region
from dmn_runtime.machine import memory_bytes
from dmn_runtime.plan import Block, Footprint, Plan
from dmn_runtime.source import read_working
from dmn_runtime.tiles import gather
from dmn_runtime.volume.base import Voxels

MOST_BYTES = 2 * 2**30
SAMPLE = 8
"""Tiles on which the kernels alone are run: more than fits into a core's own caches."""


@dataclass(frozen=True)
class Gathered:
    """Tiles of a volume as network input.

    Attributes:
        tiles: float32 nchw.
        patches: of the first tiles, at most `SAMPLE`: the voxels that they were gathered from, zyx.
        table: network input of each grey value.
        footprint: of the network.
        extent: output voxels, pixels and number of the tiles.
        whole: whether these are all of the volume's tiles.
    """

    tiles: tuple[Tiles, ...]
    patches: tuple[Voxels, ...]
    table: NDArray[np.float32]
    footprint: Footprint
    extent: Extent
    whole: bool


def gather_tiles(
    read: Callable[[Region], Voxels], plan: Plan, table: NDArray[np.float32], most_bytes: int | None = None
) -> Gathered:
    """Gather all tiles of a volume or, where they take too much memory, those of evenly spread blocks.

    Args:
        read: returns a region of the volume's own grid.
        plan: of the run.
        table: network input of each grey value.
        most_bytes: for the tiles; None takes 2 GiB, or a quarter of a smaller machine's memory.
    """
    limit = min(MOST_BYTES, (memory_bytes() or 4 * MOST_BYTES) // 4) if most_bytes is None else most_bytes
    indices = spread_blocks(len(plan), limit // _tile_bytes(plan, plan.block_at(0)))
    tiles: list[Tiles] = []
    patches: list[Voxels] = []
    voxels = 0
    for index in indices:
        block = plan.block_at(index)
        patch = read_working(read, plan, block.read)
        for tile in block.tiles:
            inside = tile.read(plan.footprint).relative_to(block.read.start)
            tiles.append(gather(patch[inside.slices], table, plan.footprint.context_slices))
            if len(patches) < SAMPLE:
                patches.append(patch[inside.slices])
        voxels += block.output.size
    extent = Extent(voxels, sum(tile[:, 0].size for tile in tiles), len(tiles))
    return Gathered(tuple(tiles), tuple(patches), table, plan.footprint, extent, len(indices) == len(plan))


def spread_blocks(count: int, fitting: int) -> Sequence[int]:
    """Return the blocks to take of `count`, evenly spread: as many as fit, one at least."""
    taken = max(1, min(count, fitting))
    return [i * count // taken for i in range(taken)]


def _tile_bytes(plan: Plan, block: Block) -> int:
    channels = 2 * plan.footprint.context_slices + 1
    reads = [tile.inner.grown((0, plan.footprint.halo_px, plan.footprint.halo_px)) for tile in block.tiles]
    return sum(4 * channels * read.size for read in reads)
