"""Tiles of the owner's volume: the very numbers that a run would feed to the network."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from dmn_runtime.certificate.stack_tiles import STACK_TILES, stack_tiles
from dmn_runtime.contract import Contract, Domain, Normalisation
from dmn_runtime.errors import PlanError, VolumeError
from dmn_runtime.geometry import Region
from dmn_runtime.normalise import map_volume
from dmn_runtime.tiles import gather

VOXEL_NM = (50.0, 5.0, 5.0)
CONTRACT = Contract(
    name="x",
    description="x",
    classes=("x",),
    in_channels=1,
    context_slices=0,
    stride_px=2,
    halo_px=6,
    voxel_nm=VOXEL_NM,
    working_voxel_nm=None,
    normalisation=Normalisation(),
    threshold=0.5,
    precisions={},
    domain=Domain((0.0,) * 7, 0.1),
)


@dataclass
class ArrayVolume:
    """A volume in memory."""

    voxels: np.ndarray
    path: str = "array"
    format: str = "array"
    voxel_nm: Any = VOXEL_NM

    @property
    def shape(self) -> tuple[int, int, int]:
        depth, height, width = self.voxels.shape
        return depth, height, width

    @property
    def dtype(self) -> Any:
        return self.voxels.dtype

    def read(self, region: Region) -> np.ndarray:
        assert all(0 <= a < b <= n for a, b, n in zip(region.start, region.stop, self.shape, strict=True))
        return self.voxels[region.slices].copy()


def volume_of(shape: tuple[int, int, int], dtype: type = np.uint8) -> ArrayVolume:
    most = np.iinfo(dtype).max
    return ArrayVolume(
        np.random.default_rng(sum(shape)).integers(0, most, shape, endpoint=True).astype(dtype)
    )


def tiles_of(volume: ArrayVolume, contract: Contract, edge_px: int) -> np.ndarray:
    return stack_tiles(volume, contract, VOXEL_NM, edge_px)


def with_context(context: int) -> Contract:
    return replace(CONTRACT, context_slices=context, in_channels=2 * context + 1)


def untiled(volume: ArrayVolume, context: int) -> np.ndarray:
    """Return network input of the whole volume at once, nchw, n = depth, reflected in z."""
    grey = (
        np.pad(volume.voxels, ((context, context), (0, 0), (0, 0)), mode="reflect")
        if context
        else volume.voxels
    )
    table = map_volume(volume, CONTRACT.normalisation).table(volume.dtype)
    return gather(grey, table, context)


def places(whole: np.ndarray, tile: np.ndarray) -> list[tuple[int, int, int]]:
    """Return where in the whole a tile stands, found by its first row and then by all of it."""
    edge = tile.shape[-1]
    rows = np.lib.stride_tricks.sliding_window_view(whole[:, 0], edge, axis=2)
    starts = np.argwhere((rows == tile[0, 0]).all(axis=-1))
    return [
        (int(z), int(y), int(x))
        for z, y, x in starts
        if np.array_equal(whole[z, :, y : y + edge, x : x + edge], tile)
    ]


@pytest.mark.parametrize("context", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_tile_stands_in_the_network_input_of_the_whole_volume(context: int, dtype: type) -> None:
    volume = volume_of((7, 60, 90), dtype)
    tiles = tiles_of(volume, with_context(context), 24)
    assert tiles.shape == (STACK_TILES, 2 * context + 1, 24, 24)
    assert tiles.dtype == np.float32
    whole = untiled(volume, context)
    found = [places(whole, tile) for tile in tiles]
    assert all(len(where) == 1 for where in found)
    zs, ys, xs = (np.array(axis) for axis in zip(*(where[0] for where in found), strict=True))
    assert (set(zs), len(set(zip(ys, xs, strict=True)))) == (set(range(7)), STACK_TILES)
    assert ys.max() - ys.min() > 18  # half of the 36 rows that a tile can begin in, and of the 66 columns
    assert xs.max() - xs.min() > 33


def test_a_volume_smaller_than_a_tile_is_reflected_on_all_sides() -> None:
    volume = volume_of((1, 10, 30))
    tiles = tiles_of(volume, CONTRACT, 24)
    before = (24 - 10) // 2  # the tile begins at (10 - 24) // 2 = -7
    wanted = np.pad(untiled(volume, 0)[0, 0], ((before, 14 - before), (0, 0)), mode="reflect")
    for tile in tiles:
        assert places(wanted[None, None], tile)
    assert len({tile.tobytes() for tile in tiles}) > 3


def test_a_single_slice_is_its_own_context() -> None:
    volume = volume_of((1, 40, 40))
    tiles = tiles_of(volume, with_context(1), 24)
    np.testing.assert_array_equal(tiles[:, 0], tiles[:, 1])
    np.testing.assert_array_equal(tiles[:, 2], tiles[:, 1])


def test_tiles_lie_on_the_grid_that_the_network_works_on() -> None:
    volume = volume_of((2, 80, 80))
    coarse = replace(CONTRACT, working_voxel_nm=10.0)
    tiles = tiles_of(volume, coarse, 24)
    table = map_volume(volume, CONTRACT.normalisation).table(volume.dtype)
    blocks = volume.voxels.reshape(2, 40, 2, 40, 2).astype(float).mean(axis=(2, 4))
    halved = table[np.floor(blocks + 0.5).astype(np.uint8)][:, None]
    near = [
        min(
            np.abs(halved[z, 0, y : y + 24, x : x + 24] - tile[0]).max()
            for z in range(2)
            for y in range(17)
            for x in range(17)
        )
        for tile in tiles[:4]
    ]
    assert max(near) < 0.05  # the mean of four voxels may be rounded the other way


def test_a_constant_volume_has_nothing_to_say() -> None:
    with pytest.raises(VolumeError, match="array is constant"):
        tiles_of(ArrayVolume(np.full((2, 30, 30), 7, np.uint8)), CONTRACT, 24)


def test_a_voxel_size_far_from_the_networks() -> None:
    with pytest.raises(PlanError):
        tiles_of(volume_of((2, 30, 30)), replace(CONTRACT, working_voxel_nm=5000.0), 24)
