"""The promise of the tile plan: the tiled result equals the untiled one, for every shape."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.geometry import Region, Triple, whole
from dmn_runtime.normalise import IntensityMap
from dmn_runtime.plan import Footprint, Plan, make_plan
from dmn_runtime.source import read_working
from dmn_runtime.tiles import crop, gather, sigmoid

Maker = Callable[[int], tuple[bytes, Footprint]]


class ArrayVolume:
    """A volume in memory."""

    def __init__(self, voxels: np.ndarray) -> None:
        self.voxels = voxels

    def read(self, region: Region) -> np.ndarray:
        assert whole(self.voxels.shape).contains(region)
        return self.voxels[region.slices].copy()


def probabilities(network: bytes, voxels: np.ndarray, plan: Plan) -> np.ndarray:
    """Return float32 probabilities on the working grid, tile by tile as the stream does, unquantised."""
    table = IntensityMap(0.0, 255.0, 2.0).table(voxels.dtype)
    engine = open_cpu_engine(network, table, plan.footprint)
    out = np.full(plan.working_shape, np.nan, np.float32)
    for block in plan.blocks():
        patch = read_working(ArrayVolume(voxels).read, plan, block.read)
        for tile in block.tiles:
            read = tile.read(plan.footprint).relative_to(block.read.start)
            logits = engine.logits(gather(patch[read.slices], table, plan.footprint.context_slices))
            inner = sigmoid(crop(logits, plan.footprint.halo_px))
            out[tile.core.slices] = inner[tile.core.relative_to(tile.inner.start).slices]
    return out


def compare(maker: Maker, shape: Triple, context: int, tile_px: int, block: Triple, seed: int) -> float:
    network, footprint = maker(context)
    voxels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    tiled = make_plan(shape, (1, 1, 1), None, footprint, tile_px=tile_px, block=block)
    untiled = make_plan(shape, (1, 1, 1), None, footprint, tile_px=4096, block=shape)
    first, second = probabilities(network, voxels, tiled), probabilities(network, voxels, untiled)
    assert not np.isnan(first).any()
    return float(np.abs(first - second).max())


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 45), st.integers(1, 45)),
    context=st.integers(0, 2),
    tile_px=st.integers(1, 20),
    block=st.tuples(st.integers(1, 3), st.integers(5, 40), st.integers(5, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiled_equals_untiled(
    small_network: Maker, shape: Triple, context: int, tile_px: int, block: Triple, seed: int
) -> None:
    assert compare(small_network, shape, context, tile_px, block, seed) <= 1e-5


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 37), (3, 41, 1), (1, 3, 2), (2, 31, 47), (5, 13, 7)])
def test_one_pixel_below_halo_and_prime_sizes(small_network: Maker, shape: Triple, context: int) -> None:
    assert compare(small_network, shape, context, 8, (2, 10, 16), 7) <= 1e-5


def test_a_halo_too_small_is_seen(small_network: Maker) -> None:
    def lying(context: int) -> tuple[bytes, Footprint]:
        network, footprint = small_network(context)
        return network, Footprint(footprint.stride_px, 2, context)

    assert compare(lying, (1, 40, 40), 0, 8, (1, 40, 40), 3) > 1e-3


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(8, 60), st.integers(8, 60)),
    voxel=st.sampled_from([4.6, 5.0, 10.0]),
    block=st.tuples(st.integers(1, 3), st.integers(8, 40), st.integers(8, 40)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    context=st.integers(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks_do_not_change_a_resampled_result(
    small_network: Maker, shape: Triple, voxel: float, block: Triple, dtype: type, context: int, seed: int
) -> None:
    network, footprint = small_network(context)
    voxels = np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)
    first = make_plan(shape, (50, voxel, voxel), 7.0, footprint, tile_px=10, block=block)
    second = make_plan(shape, (50, voxel, voxel), 7.0, footprint, block=shape)
    difference = probabilities(network, voxels, first) - probabilities(network, voxels, second)
    assert np.nanmax(np.abs(difference)) <= 1e-5
