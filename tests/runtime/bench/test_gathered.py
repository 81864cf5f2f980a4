"""The tiles that the network alone is run on are those of the run."""

import numpy as np
import pytest

from dmn_runtime.bench.gathered import SAMPLE, gather_tiles, spread_blocks
from dmn_runtime.bench.kernels import time_gather, time_scatter
from dmn_runtime.bench.rounds import Extent, Rate
from dmn_runtime.geometry import Region
from dmn_runtime.plan import Footprint, make_plan

VOLUME = np.random.default_rng(0).integers(0, 256, (4, 64, 96)).astype(np.uint8)
TABLE = np.linspace(-1, 1, 256, dtype=np.float32)
PLAN = make_plan(VOLUME.shape, (1, 1, 1), None, Footprint(2, 6, 0), tile_px=32, block=(2, 64, 64))


def read(region: Region) -> np.ndarray:
    return VOLUME[region.slices]


def test_all_tiles_are_gathered() -> None:
    found = gather_tiles(read, PLAN, TABLE)
    # 2 x 1 x 2 blocks; of 64 x 64 and 64 x 32 px, in tiles of 32 x 32 px with 6 px around
    assert found.extent == Extent(voxels=4 * 64 * 96, px=24 * 44 * 44, tiles=24)
    assert found.whole
    assert len(found.patches) == SAMPLE
    assert found.tiles[0].shape == (1, 1, 44, 44)
    assert np.array_equal(found.tiles[0][0, 0, 6:38, 6:38], TABLE[VOLUME[0, :32, :32]])
    assert np.array_equal(TABLE[found.patches[3]], found.tiles[3][0])


def test_what_does_not_fit_is_left_out_by_blocks() -> None:
    found = gather_tiles(read, PLAN, TABLE, most_bytes=2 * 8 * 4 * 44 * 44)
    assert not found.whole
    assert found.extent == Extent(voxels=2 * 2 * 64 * 64, px=16 * 44 * 44, tiles=16)


@pytest.mark.parametrize(
    ("count", "fitting", "taken"),
    [(5, 9, [0, 1, 2, 3, 4]), (5, 2, [0, 2]), (5, 0, [0]), (1, 0, [0]), (9, 3, [0, 3, 6])],
)
def test_blocks_are_spread(count: int, fitting: int, taken: list[int]) -> None:
    assert list(spread_blocks(count, fitting)) == taken


def test_the_bytes_of_the_kernels() -> None:
    found = gather_tiles(read, PLAN, TABLE)
    ticks = iter([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    px = 44 * 44
    assert time_gather(found, 1, 0.0, lambda: next(ticks)) == Rate(px / 2, 5 * px / 2)
    logits = [np.zeros((1, 1, 44, 44), np.float32)]
    scattered = time_scatter(logits, found.footprint, 1, 0.0, lambda: next(ticks))
    assert scattered == Rate(px / 2, 5 * 32 * 32 / 2)
