"""How much goes through the GPU at once, from its free memory: integers only.

    edge    height and width of a tile, halo included
    batch   tiles in one call of the network
    lanes   blocks under way side by side: one computes while others are copied
    slab    slices of a block that go through in one piece

Given up in this order, as little as possible: batch down to 2, lanes down to 2, slices of a slab down to what
one batch needs, batch 1, one lane, and at last smaller tiles, whose halo costs the most. Edge and batch
decide the bits of the result, so a run that is resumed keeps them; so does a TensorRT plan, which is built
for them. There only lanes and slices are given up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dmn_runtime.errors import EngineError, ResumeError
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
class BatchShape:
    """What goes through the network in one call: tiles, and height and width of each, halo included.

    Libraries choose their arithmetic by it, so that on a GPU it decides the bits, as engine and precision do.
    """

    batch: int
    edge_px: int

    def suits(self, footprint: Footprint) -> bool:
        """Tell whether a network of that footprint can be given such tiles."""
        inner = self.edge_px - 2 * footprint.halo_px
        return self.batch > 0 and inner > 0 and inner % footprint.stride_px == 0


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
        again_px: height and width of what the seam check computes a second time, 0 without one.
        batch: tiles in one call where that is given; then the edge is given too.
        loaded: whether the network holds its activations already, as a TensorRT plan does.
    """

    footprint: Footprint
    channels: int
    values_per_px: int
    itemsize: int
    voxel_itemsize: int
    block: Triple
    edge_px: int
    again_px: int = 0
    batch: int | None = None
    loaded: bool = False


@dataclass(frozen=True)
class Share:
    """What goes through at once; see the head of this file. `nbytes`: what it takes at most."""

    edge_px: int
    batch: int
    lanes: int
    slab_slices: int
    nbytes: int


def plan_memory(need: Need, free_bytes: int, *, most_lanes: int = MOST_LANES) -> Share:
    """Choose what goes through at once.

    Args:
        need: of the run.
        free_bytes: of the GPU.
        most_lanes: that the network can be bound to.

    Raises:
        EngineError: not even one tile fits.
        ResumeError: what the run was begun with does not fit any more.
    """
    room = free_bytes - free_bytes // SPARE_SHARE
    smallest = None
    for edge in _edges(need):
        for batch, lanes, slices in _sizes(need, edge):
            smallest = share_of(need, edge, batch, min(lanes, most_lanes), slices)
            if smallest.nbytes <= room:
                return smallest
    assert smallest is not None
    raise _too_large(need, smallest, free_bytes)


def share_of(need: Need, edge_px: int, batch: int, lanes: int, slices: int) -> Share:
    """Return a share with what it takes."""
    return Share(edge_px, batch, lanes, slices, taken_bytes(need, edge_px, batch, lanes, slices))


def halved(need: Need, share: Share) -> Share | None:
    """Return the next smaller share: half the batch or, where that is given or 1, one lane fewer."""
    if share.batch > 1 and need.batch is None:
        return share_of(need, share.edge_px, share.batch // 2, share.lanes, share.slab_slices)
    if share.lanes > 1:
        return share_of(need, share.edge_px, share.batch, share.lanes - 1, share.slab_slices)
    return None


def taken_bytes(need: Need, edge_px: int, batch: int, lanes: int, slices: int) -> int:
    """Return what lanes take at most on the GPU: activations, patch and output of each."""
    values = 0 if need.loaded else need.values_per_px + need.channels + 1
    activations = batch * edge_px**2 * values * need.itemsize
    return lanes * (activations + patch_bytes(need, slices) + output_bytes(need, slices))


def pinned_bytes(need: Need, share: Share) -> int:
    """Return what lanes take at most of the computer's memory: patch and output of each once more."""
    return share.lanes * (patch_bytes(need, share.slab_slices) + output_bytes(need, share.slab_slices))


def patch_bytes(need: Need, slices: int) -> int:
    """Return the bytes of the largest patch of a slab of `slices`."""
    margin_z, margin_y, margin_x = need.footprint.margin
    # A core that does not start on the stride is grown to it on both sides.
    rows, width = (max(need.block[axis], need.again_px) + 2 * need.footprint.stride_px for axis in (1, 2))
    pitch = pitch_of(width + 2 * margin_x)
    return (slices + 2 * margin_z) * (rows + 2 * margin_y) * pitch * need.voxel_itemsize


def output_bytes(need: Need, slices: int) -> int:
    """Return the bytes of the largest output of a slab of `slices`."""
    return slices * max(need.block[1], need.again_px) * max(need.block[2], need.again_px)


def begun_too_large(batch: BatchShape, found: str) -> ResumeError:
    """Return why a run that was begun with `batch` cannot be resumed on a GPU that now has less memory.

    Args:
        batch: that it was begun with.
        found: what there is, a clause; its remedy, behind a colon, is left out.
    """
    cause = found.partition(": ")[0]
    return ResumeError(
        f"{cause}, and this run was begun with batches of {batch.batch} tiles of {batch.edge_px} px, which "
        "must stay as they are for the same result: close other programs that use the GPU's memory, or start "
        "anew with --overwrite"
    )


def _too_large(need: Need, smallest: Share, free_bytes: int) -> EngineError | ResumeError:
    free, wanted = free_bytes / 2**20, smallest.nbytes / 2**20
    if need.batch is not None and not need.loaded:
        batch = BatchShape(need.batch, need.edge_px)
        return begun_too_large(batch, f"the GPU has {free:.0f} MiB free where up to {wanted:.0f} are needed")
    return EngineError(
        f"the GPU has {free:.0f} MiB free and "
        + ("one slice of a block" if need.loaded else f"one tile of {smallest.edge_px} px")
        + f" takes up to {wanted:.0f} MiB: close other programs, or give a smaller --tile or --block"
    )


def _sizes(need: Need, edge_px: int) -> Iterator[tuple[int, int, int]]:
    """Yield batch, lanes and slices, from what is wanted to the least."""
    inner = edge_px - 2 * need.footprint.halo_px
    tiles = ceil_div(need.block[1], inner) * ceil_div(need.block[2], inner)  # of one slice
    depth = need.block[0]
    full = min(MOST_BATCH, depth * tiles)
    for batch in [b for b in (8, 4, 2) if b <= full] if need.batch is None else [need.batch]:
        yield batch, MOST_LANES, depth
    few = min(2, full) if need.batch is None else need.batch
    yield few, 2, depth
    yield few, 2, min(depth, max(1, few // tiles))
    least = 1 if need.batch is None else need.batch
    yield least, 2, 1
    yield least, 1, 1


def _edges(need: Need) -> Iterator[int]:
    halo, stride = need.footprint.halo_px, need.footprint.stride_px
    inner = need.edge_px - 2 * halo
    yield need.edge_px
    while need.batch is None and inner > _LEAST_INNER_PX and round_down(inner // 2, stride):
        inner = round_down(inner // 2, stride)
        yield inner + 2 * halo
