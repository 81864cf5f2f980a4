"""Resolution levels of an output: planned in integers, then computed block by block.

Every factor divides the block, so that one block is exactly one shard of every level: a block is written
without its neighbours, without reading anything back, in any order and by any number of writers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Spacing, Triple, ceil_div

SMALL_PX = 256
CHUNK: Triple = (16, 256, 256)
ISOTROPY = 1.5
"""z is halved with y and x where its voxel is at least this much finer than y's on the next level."""

_KEPT: Triple = (1, 1, 1)


@dataclass(frozen=True)
class Level:
    """One resolution level of an output.

    Attributes:
        factor: voxels of level 0 along the edge of one voxel, zyx; powers of two.
        shape: voxels, zyx: ceil(level 0 / factor).
        shard: shape of one file, zyx: block / factor.
        chunk: shape of what is compressed at once, zyx; divides the shard.
        voxel_nm: voxel size, zyx; None where it is not known.
    """

    factor: Triple
    shape: Triple
    shard: Triple
    chunk: Triple
    voxel_nm: Spacing | None

    def region(self, block: Region) -> Region:
        """Return the footprint on this level of a block given on level 0."""
        start = tuple(a // f for a, f in zip(block.start, self.factor, strict=True))
        stop = tuple(ceil_div(b, f) for b, f in zip(block.stop, self.factor, strict=True))
        return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def plan_pyramid(shape: Triple, block: Triple, voxel_nm: Spacing | None) -> tuple[Level, ...]:
    """Plan the resolution levels of a volume, level 0 first.

    y and x halve on each level; z halves with them where its voxel is not coarser than theirs has become
    (`ISOTROPY`), and stays where the voxel size is not known. The last level is the first whose y and x are
    at most `SMALL_PX`, or the one whose block cannot be halved again.

    Args:
        shape: voxels of the volume, zyx.
        block: shape of one block, zyx; may be larger than the volume.
        voxel_nm: voxel size of the volume, zyx.
    """
    levels = [_level(shape, block, voxel_nm, _KEPT)]
    while max(levels[-1].shape[1:]) > SMALL_PX and _even(levels[-1].shard[1:]):
        step = 2 if _halves_z(levels[-1]) else 1
        z, y, x = levels[-1].factor
        levels.append(_level(shape, block, voxel_nm, (z * step, y * 2, x * 2)))
    return tuple(levels)


def _even(edges: tuple[int, ...]) -> bool:
    return all(edge % 2 == 0 for edge in edges)


def _halves_z(level: Level) -> bool:
    if level.voxel_nm is None or level.shape[0] == 1 or not _even(level.shard[:1]):
        return False
    z_nm, y_nm, _ = level.voxel_nm
    return z_nm * ISOTROPY <= y_nm * 2


def _level(shape: Triple, block: Triple, voxel_nm: Spacing | None, factor: Triple) -> Level:
    fz, fy, fx = factor
    shard = (block[0] // fz, block[1] // fy, block[2] // fx)
    return Level(
        factor=factor,
        shape=(ceil_div(shape[0], fz), ceil_div(shape[1], fy), ceil_div(shape[2], fx)),
        shard=shard,
        chunk=(_divisor(shard[0], CHUNK[0]), _divisor(shard[1], CHUNK[1]), _divisor(shard[2], CHUNK[2])),
        voxel_nm=None if voxel_nm is None else (voxel_nm[0] * fz, voxel_nm[1] * fy, voxel_nm[2] * fx),
    )


def _divisor(edge: int, wanted: int) -> int:
    """Return the largest divisor of `edge` up to `wanted`, or where that is a sliver the next one above.

    Zarr wants chunks that divide the shard. An edge without good divisors (a prime) would otherwise be cut
    into single voxels.
    """
    divisors = [d for d in range(1, edge + 1) if edge % d == 0]
    below = max(d for d in divisors if d <= wanted)
    return below if below * 4 >= min(edge, wanted) else min(d for d in divisors if d > wanted)


def mean_levels(block: NDArray[np.uint8], levels: tuple[Level, ...]) -> Iterator[NDArray[np.uint8]]:
    """Yield a block of grey values on every level, level 0 (the block itself) first.

    A voxel is the mean of the level 0 voxels that it covers and that exist, rounded half up: computed from
    exact sums, so that no level inherits the rounding of the one before.

    Args:
        block: zyx uint8.
        levels: of `plan_pyramid`.
    """
    yield block
    sums: NDArray[np.unsignedinteger] = block
    for coarse, fine in zip(levels[1:], levels[:-1], strict=True):
        largest = np.min_scalar_type(256 * prod(coarse.factor))
        for axis in range(3):
            if coarse.factor[axis] != fine.factor[axis]:
                sums = _pair_sums(sums, axis, largest)
        yield _rounded_mean(sums, block.shape, coarse.factor)


def _pair_sums(
    fine: NDArray[np.unsignedinteger], axis: int, dtype: np.dtype[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    """Add neighbours 2k and 2k + 1 along `axis`; a last one without a neighbour is kept."""
    before = (slice(None),) * axis
    first, second = fine[(*before, slice(0, None, 2))], fine[(*before, slice(1, None, 2))]
    sums = first.astype(dtype)
    paired = sums[(*before, slice(0, second.shape[axis]))]
    np.add(paired, second, out=paired)
    return sums


def _rounded_mean(
    sums: NDArray[np.unsignedinteger], extent: tuple[int, ...], factor: Triple
) -> NDArray[np.uint8]:
    """Divide the sums by the number of voxels in each, which is smaller where the volume ends."""
    full = prod(factor)
    if all(n % f == 0 for n, f in zip(extent, factor, strict=True)):
        # powers of two: a shift, which is several times as fast as a division
        half, bits = sums.dtype.type(full // 2), sums.dtype.type(full.bit_length() - 1)
        return np.right_shift(sums + half, bits).astype(np.uint8)
    z, y, x = (_counts(n, f).astype(sums.dtype) for n, f in zip(extent, factor, strict=True))
    counts = z[:, None, None] * y[None, :, None] * x[None, None, :]
    divided: NDArray[np.uint8] = np.floor_divide(sums + counts // 2, counts).astype(np.uint8)
    return divided


def _counts(extent: int, factor: int) -> NDArray[np.int64]:
    starts = np.arange(0, extent, factor)
    return np.minimum(starts + factor, extent) - starts


def nearest_levels(block: NDArray[np.uint8], levels: tuple[Level, ...]) -> Iterator[NDArray[np.uint8]]:
    """Yield a block of labels on every level, level 0 first: a voxel is the first one that it covers."""
    for level in levels:
        z, y, x = level.factor
        yield block[::z, ::y, ::x]
