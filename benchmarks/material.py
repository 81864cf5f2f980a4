"""What the suites run on: sizes, made-up tissue, and what every result carries.

DMN_BENCH_SIZE  full (default), or tiny: every suite in a moment, to see that it runs; no figure of it counts

Tissue and probabilities are made-up and the same on every machine. They are never zeros and never repeat
exactly, since both would compress, decode and compute faster than what a microscope gives.
"""

import os
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.phantom import Phantom, make_phantom
from dmn_runtime.plan import Footprint
from dmn_runtime.volume.base import Voxels

VOXEL_NM: Spacing = (50.0, 5.0, 5.0)
MEGA = 1e6
_NOISE_GREY = 6


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        name: the word of DMN_BENCH_SIZE.
        drawn: voxels of the phantom that everything is made of, zyx.
        volume: voxels on disk, zyx.
        planned: voxels of the volume that is planned and never made, zyx.
        block: voxels of a block, zyx.
        tile_px: edge of a tile's core.
        footprint: of the network that is not there.
        planned_blocks: blocks laid out in one round.
        streamed_blocks: blocks streamed in one round.
        calls: of the network by each worker in one round.
        rounds: of whatever needs a fresh start each time.
    """

    name: str
    drawn: Triple
    volume: Triple
    planned: Triple
    block: Triple
    tile_px: int
    footprint: Footprint
    planned_blocks: int
    streamed_blocks: int
    calls: int
    rounds: int


FULL = Size(
    name="full",
    drawn=(8, 256, 256),
    volume=(16, 2048, 2048),
    planned=(2000, 30_000, 30_000),
    block=(8, 1024, 1024),
    tile_px=1024,
    footprint=Footprint(stride_px=8, halo_px=64, context_slices=1),
    planned_blocks=100,
    streamed_blocks=256,
    calls=4,
    rounds=5,
)
TINY = Size(
    name="tiny",
    drawn=(2, 48, 48),
    volume=(4, 80, 96),
    planned=(8, 128, 128),
    block=(2, 64, 64),
    tile_px=32,
    footprint=Footprint(stride_px=8, halo_px=16, context_slices=1),
    planned_blocks=2,
    streamed_blocks=3,
    calls=1,
    rounds=1,
)


def size_of(word: str) -> Size:
    """Return the size that a word names.

    Raises:
        UsageError: there is no such size.
    """
    sizes = {size.name: size for size in (FULL, TINY)}
    if word not in sizes:
        raise UsageError(f"DMN_BENCH_SIZE is {word!r}: set it to {' or '.join(sizes)}, or leave it out")
    return sizes[word]


SIZE = size_of(os.environ.get("DMN_BENCH_SIZE", FULL.name))


@cache
def drawn() -> Phantom:
    """Return the piece of tissue that everything is made of."""
    return make_phantom(SIZE.drawn, seed=1, voxel_nm=VOXEL_NM[1], regime="sstem")


@cache
def tissue(shape: Triple, dtype: str = "uint8") -> Voxels:
    """Return made-up tissue, uint8 or uint16 zyx, read-only since it is shared.

    The drawn piece is repeated under noise that is not; the low byte of uint16 is noise alone, as a
    camera's is.
    """
    random = np.random.default_rng(7)
    noise = random.integers(-_NOISE_GREY, _NOISE_GREY, shape, np.int16, endpoint=True)
    noise += _repeated(drawn().image, shape)
    grey = np.clip(noise, 0, 255, out=noise).astype(np.uint8)
    voxels: Voxels = grey
    if dtype == "uint16":
        voxels = (grey.astype(np.uint16) << 8) | random.integers(0, 256, shape, np.uint16)
    voxels.flags.writeable = False
    return voxels


@cache
def probability(shape: Triple) -> NDArray[np.uint8]:
    """Return what a network would say, uint8 zyx: sure inside and outside, unsure at the borders."""
    sharp = drawn().mask * np.float32(255.0)
    shifts = [(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4)]
    soft = np.mean([np.roll(sharp, shift, axis=(1, 2)) for shift in shifts], axis=0)
    unsure = np.random.default_rng(8).normal(0.0, 2.0, shape).astype(np.float32)
    found = np.clip(_repeated(soft, shape) + unsure, 0.0, 255.0).astype(np.uint8)
    found.flags.writeable = False
    return found


def _repeated(piece: NDArray[Any], shape: Triple) -> NDArray[Any]:
    times = [ceil(wanted / there) for wanted, there in zip(shape, piece.shape, strict=True)]
    return np.tile(piece, times)[tuple(slice(0, n) for n in shape)]


def carry(benchmark: BenchmarkFixture, voxels: int, **more: object) -> None:
    """Put into a result how many voxels one round was, how fast that is (median), and at which size.

    Args:
        benchmark: after it has run; where it is disabled it has timed nothing, and no speed is given.
        voxels: delivered by one round: halos and context slices are not counted.
        more: whatever else belongs to the result.
    """
    benchmark.extra_info |= {"size": SIZE.name, "voxels": voxels, **more}
    if not benchmark.disabled:
        benchmark.extra_info["mvoxel_per_s"] = voxels / benchmark.stats.stats.median / MEGA
