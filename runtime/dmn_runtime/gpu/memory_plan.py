"""How much goes through the GPU at once, from its free memory: integers only.

    edge    height and width of a tile, halo included
    batch   tiles in one call of the network
    lanes   blocks under way side by side: one computes while others are copied
    slab    slices of a block that go through in one piece

Given up in this order, as little as possible: batch down to 2, lanes down to 2, slices of a slab down to what
one batch needs, batch 1, one lane, and at last smaller tiles, whose halo costs the most.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dmn_runtime.errors import EngineError
from dmn_runtime.geometry import Triple, ceil_div, round_down
from dmn_runtime.gpu.sheet import pitch_of
from dmn_runtime.plan import Footprint

MOST_LANES = 3
MOST_BATCH = 8
SPARE_SHARE = 8
"""One part in so many of the free memory is left to libraries and to what else runs on the GPU."""
UNKNOWN_VALUES_PER_PX = 1024
"""Where the package does not state its network's cost: more than s32 has."""
_LEAST_INNER_PX = 128


@dataclass(frozen=True)
class Need:
    """What a network and a run need.

    Attributes:
        footprint: of the network.
        channels: of its input.
        values_per_px: numbers that its nodes write for each pixel, rounded up; an upper bound of memory.
        itemsize: bytes of such a number.
        voxel_itemsize: bytes of the volume's voxels.
        block: largest core of a block on the working grid, zyx.
        edge_px: edge of the plan's largest tile, halo included.
    """

    footprint: Footprint
    channels: int
    values_per_px: int
    itemsize: int
    voxel_itemsize: int
    block: Triple
    edge_px: int


@dataclass(frozen=True)
class Share:
    """What goes through at once; see the head of this file. `nbytes`: what it takes at most."""

    edge_px: int
    batch: int
    lanes: int
    slab_slices: int
    nbytes: int


def plan_memory(need: Need, free_bytes: int, *, fixed_edge: bool = False) -> Share:
    """Choose what goes through at once.

    Args:
        need: of the run.
        free_bytes: of the GPU.
        fixed_edge: the tile's size is given (by a TensorRT plan) and is not made smaller.

    Raises:
        EngineError: not even one tile fits.
    """
    room = free_bytes - free_bytes // SPARE_SHARE
    smallest = None
    for edge in [need.edge_px] if fixed_edge else _edges(need):
        for batch, lanes, slices in _sizes(need, edge):
            smallest = Share(edge, batch, lanes, slices, taken_bytes(need, edge, batch, lanes, slices))
            if smallest.nbytes <= room:
                return smallest
    assert smallest is not None
    raise EngineError(
        f"the GPU has {free_bytes / 2**20:.0f} MiB free and one tile of {smallest.edge_px} px takes up to "
        f"{smallest.nbytes / 2**20:.0f} MiB: close other programs, or give a smaller --tile or --block"
    )


def taken_bytes(need: Need, edge_px: int, batch: int, lanes: int, slices: int) -> int:
    """Return what lanes take at most on the GPU: activations, patch and output of each."""
    activations = batch * edge_px**2 * (need.values_per_px + need.channels + 1) * need.itemsize
    return lanes * (activations + patch_bytes(need, slices) + output_bytes(need, slices))


def patch_bytes(need: Need, slices: int) -> int:
    """Return the bytes of the largest patch of a slab of `slices`."""
    margin_z, margin_y, margin_x = need.footprint.margin
    # A core that does not start on the stride is grown to it on both sides.
    rows, width = (need.block[axis] + 2 * need.footprint.stride_px for axis in (1, 2))
    pitch = pitch_of(width + 2 * margin_x)
    return (slices + 2 * margin_z) * (rows + 2 * margin_y) * pitch * need.voxel_itemsize


def output_bytes(need: Need, slices: int) -> int:
    """Return the bytes of the largest output of a slab of `slices`."""
    return slices * need.block[1] * need.block[2]


def _sizes(need: Need, edge_px: int) -> Iterator[tuple[int, int, int]]:
    """Yield batch, lanes and slices, from what is wanted to the least."""
    inner = edge_px - 2 * need.footprint.halo_px
    tiles = ceil_div(need.block[1], inner) * ceil_div(need.block[2], inner)  # of one slice
    depth = need.block[0]
    full = min(MOST_BATCH, depth * tiles)
    for batch in (b for b in (8, 4, 2) if b <= full):
        yield batch, MOST_LANES, depth
    few = min(2, full)
    yield few, 2, depth
    yield few, 2, min(depth, max(1, few // tiles))
    yield 1, 2, 1
    yield 1, 1, 1


def _edges(need: Need) -> Iterator[int]:
    halo, stride = need.footprint.halo_px, need.footprint.stride_px
    inner = need.edge_px - 2 * halo
    yield need.edge_px
    while inner > _LEAST_INNER_PX and round_down(inner // 2, stride):
        inner = round_down(inner // 2, stride)
        yield inner + 2 * halo
