"""The few decoded slices that are in memory, whatever has piled up on disk."""

from collections import OrderedDict
from typing import final

from dmn_runtime.volume.base import Voxels


@final
class Shelf:
    """At most `room` decoded slices (yx); the one that was not wanted for longest goes first.

    Attributes:
        most: the largest number of slices held so far.
    """

    def __init__(self, room: int) -> None:
        """Keep at most `room` slices."""
        self.most = 0
        self._room = room
        self._kept: OrderedDict[int, Voxels] = OrderedDict()

    def put(self, z: int, pixels: Voxels) -> None:
        """Keep slice `z`."""
        self._kept[z] = pixels
        self._kept.move_to_end(z)
        if len(self._kept) > self._room:
            self._kept.popitem(last=False)
        self.most = max(self.most, len(self._kept))

    def get(self, z: int) -> Voxels | None:
        """Return slice `z` if it is here."""
        pixels = self._kept.get(z)
        if pixels is not None:
            self._kept.move_to_end(z)
        return pixels

    def drop(self, z: int) -> None:
        """Let go of slice `z`."""
        self._kept.pop(z, None)
