"""Tiles of a facility's own volume, to examine engines on what they will see."""

import numpy as np

from dmn_runtime.contract import Contract
from dmn_runtime.engines.base import Tiles
from dmn_runtime.geometry import Region, Spacing
from dmn_runtime.normalise import fit_map, histogram, spread
from dmn_runtime.plan import Footprint, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.tiles import gather
from dmn_runtime.volume.base import Volume

STACK_TILES = 16


def stack_tiles(volume: Volume, contract: Contract, voxel_nm: Spacing, edge_px: int) -> Tiles:
    """Return network input from all over a volume, as a run would see it: float32 nchw, n = `STACK_TILES`.

    Args:
        volume: open.
        contract: of the package.
        voxel_nm: of the volume, zyx.
        edge_px: height and width of the tiles on the working grid; reflected where the volume is smaller.

    Raises:
        VolumeError: the volume is constant.
        PlanError: its voxel size and the network's are too far apart.
    """
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    plan = make_plan(volume.shape, voxel_nm, contract.working_voxel_nm, footprint)
    table = fit_map(histogram(volume), contract.normalisation, volume.path).table(volume.dtype)
    depth, height, width = plan.working_shape
    zs = spread(depth, 1, STACK_TILES)
    tiles = []
    for index in range(STACK_TILES):
        z = zs[index % len(zs)]
        y, x = _start(index * 0.6180339887, height, edge_px), _start(index * 0.7548776662, width, edge_px)
        context = contract.context_slices
        region = Region((z - context, y, x), (z + context + 1, y + edge_px, x + edge_px))
        tiles.append(gather(read_working(volume.read, plan, region), table, context))
    return np.concatenate(tiles)


def _start(place: float, extent: int, edge_px: int) -> int:
    """Return where a tile begins, inside if it fits; the fractional part of `place` says how far along."""
    return int((place % 1.0) * (extent - edge_px)) if extent > edge_px else (extent - edge_px) // 2
