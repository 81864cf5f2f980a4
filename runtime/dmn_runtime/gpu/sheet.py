"""The sheet: where the tiles of one batch lie, as the int32 words that the fused kernels read.

It lies in device memory, so that one captured graph serves every batch. docs/kernels.md is the page of law.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Triple, round_up
from dmn_runtime.plan import Footprint, Tile

HEADER_WORDS = 16
TILE_WORDS = 10
PITCH_MULTIPLE = 16


@dataclass(frozen=True)
class Slab:
    """What goes through the device in one piece.

    Attributes:
        core: what is wanted, on the working grid.
        patch: what goes up: a region inside the volume that holds all that the tiles mirror to.
        tiles: cover `core`.
    """

    core: Region
    patch: Region
    tiles: tuple[Tile, ...]

    @property
    def pitch(self) -> int:
        """Elements from one row of the patch to the next, on the device."""
        return pitch_of(self.patch.shape[2])


def pitch_of(width: int) -> int:
    """Return the elements from one row to the next of a patch `width` voxels wide."""
    return round_up(width, PITCH_MULTIPLE)


def sheet_words(batch: int) -> int:
    """Return the words of the sheet of a batch."""
    return HEADER_WORDS + TILE_WORDS * batch


def lay_sheets(slab: Slab, volume: Triple, footprint: Footprint, batch: int) -> tuple[NDArray[np.int32], ...]:
    """Return the sheets of a slab, one for each batch of its tiles.

    Args:
        slab: what goes through the device.
        volume: voxels of the working grid, zyx; beyond them the kernels reflect.
        footprint: of the network.
        batch: tiles in one call of the network; the last sheet may use fewer.
    """
    groups = [slab.tiles[start : start + batch] for start in range(0, len(slab.tiles), batch)]
    return tuple(_sheet(slab, volume, footprint, batch, tiles) for tiles in groups)


def _sheet(
    slab: Slab, volume: Triple, footprint: Footprint, batch: int, tiles: Sequence[Tile]
) -> NDArray[np.int32]:
    words = np.zeros(sheet_words(batch), np.int32)
    words[0:3] = slab.patch.start
    words[3:6] = slab.patch.shape
    words[6:9] = volume
    words[9] = slab.pitch
    words[10:13] = slab.core.shape
    words[13] = len(tiles)
    rows = words[HEADER_WORDS:].reshape(batch, TILE_WORDS)
    for row, tile in zip(rows, tiles, strict=False):
        row[:] = _tile_words(tile, slab, footprint)
    return words


def _tile_words(tile: Tile, slab: Slab, footprint: Footprint) -> tuple[int, ...]:
    y, x = tile.inner.start[1] - footprint.halo_px, tile.inner.start[2] - footprint.halo_px
    _, height, width = tile.core.shape
    target = tile.core.relative_to(slab.core.start).start
    return (tile.core.start[0], y, x, tile.core.start[1] - y, tile.core.start[2] - x, height, width, *target)
