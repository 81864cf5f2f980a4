"""A block cut along z into slabs, each into tiles of the size that the device takes: integers only."""

from itertools import pairwise

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.gpu.sheet import Slab
from dmn_runtime.plan import Footprint, lay_tiles
from dmn_runtime.source import mirrored_inside


def cut_slabs(
    core: Region, volume: Triple, footprint: Footprint, edge_px: int, slices: int
) -> tuple[Slab, ...]:
    """Cut the core of a block into slabs.

    Args:
        core: what is wanted, on the working grid.
        volume: voxels of the working grid, zyx.
        footprint: of the network.
        edge_px: height and width of a tile, halo included.
        slices: of a slab at most.
    """
    inner_px = edge_px - 2 * footprint.halo_px
    cuts = [*range(core.start[0], core.stop[0], slices), core.stop[0]]
    parts = [Region((start, *core.start[1:]), (stop, *core.stop[1:])) for start, stop in pairwise(cuts)]
    return tuple(_slab(part, volume, footprint, inner_px) for part in parts)


def _slab(core: Region, volume: Triple, footprint: Footprint, inner_px: int) -> Slab:
    tiles = lay_tiles(core, (1, inner_px, inner_px), footprint.stride_px)
    starts = [tile.inner.start for tile in tiles]
    stops = [tile.inner.stop for tile in tiles]
    inner = Region(
        (core.start[0], min(s[1] for s in starts), min(s[2] for s in starts)),
        (core.stop[0], max(s[1] for s in stops), max(s[2] for s in stops)),
    )
    return Slab(core, mirrored_inside(inner.grown(footprint.margin), volume), tiles)
