"""In-plane resampling between a volume's own grid and the network's working grid.

Output pixel i of an axis covers [i * scale, (i + 1) * scale) input pixels, counted from the volume's first
edge. Where scale >= 1 it is the average of what it covers (antialiased); else the linear interpolation at its
centre, clamped at the volume's edges. Weights depend on the global index alone and all arithmetic is in
integers, so that a block is the same bits whatever the blocks are. z is never resampled: the networks are 2D.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.volume.base import Voxels

_SAME_SCALE = 1e-4  # 46 Angstrom and 4.6 nm are the same voxel size, whatever the last bit says
_EPSILON_PX = 1e-6  # 0.46 nm / 0.1 nm must not become 4.600000001 px


@dataclass(frozen=True)
class Taps:
    """Which input pixels make an output pixel, and with what weight.

    `index` and `weight` are (taps, outputs); `index` counts on the whole input axis; the weights of an output
    are integers that sum to 2 ** bits.
    """

    index: NDArray[np.intp]
    weight: NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One axis of a resampling: `n_in` pixels become `n_out`, `scale` input pixels to an output pixel."""

    n_in: int
    n_out: int
    scale: float

    @property
    def is_identity(self) -> bool:
        """Tell whether nothing changes along this axis."""
        return self.scale == 1.0 and self.n_in == self.n_out

    def support(self, start: int, stop: int) -> tuple[int, int]:
        """Return the half-open range of input pixels that outputs [start, stop) depend on."""
        index = self.taps(start, stop, bits=8).index
        return int(index.min()), int(index.max()) + 1

    def taps(self, start: int, stop: int, bits: int) -> Taps:
        """Return the taps of outputs [start, stop)."""
        outputs = np.arange(start, stop)
        index, share = self._cover(outputs) if self.scale >= 1.0 else self._interpolate(outputs)
        cumulated = np.cumsum(share, axis=0)
        steps = np.rint(cumulated / cumulated[-1] * (1 << bits)).astype(np.int64)
        return Taps(index, np.diff(steps, axis=0, prepend=0))

    def _cover(self, outputs: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        low = np.minimum(outputs * self.scale, self.n_in - 1.0)
        high = np.minimum((outputs + 1) * self.scale, self.n_in)
        first = np.floor(low + _EPSILON_PX).astype(np.intp)
        pixel = first + np.arange(ceil(self.scale) + 1)[:, None]
        share = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
        share[share < _EPSILON_PX] = 0.0
        # A tap of no weight must not widen the support, or blocks would read neighbours for nothing.
        return np.where(share > 0, pixel, first).astype(np.intp), share

    def _interpolate(self, outputs: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        centre = np.clip((outputs + 0.5) * self.scale - 0.5, 0.0, self.n_in - 1.0)
        first = np.floor(centre).astype(np.intp)
        part = centre - first
        second = np.where(part > 0, first + 1, first)
        return np.stack([first, second]).astype(np.intp), np.stack([1.0 - part, part])


@dataclass(frozen=True)
class Resampling:
    """A map between two grids of the same volume that share their first corner and their z."""

    z: int
    y: Axis
    x: Axis

    @property
    def is_identity(self) -> bool:
        """Tell whether both grids are the same."""
        return self.y.is_identity and self.x.is_identity

    @property
    def shape_in(self) -> Triple:
        """Voxels of the input grid, zyx."""
        return (self.z, self.y.n_in, self.x.n_in)

    @property
    def shape_out(self) -> Triple:
        """Voxels of the output grid, zyx."""
        return (self.z, self.y.n_out, self.x.n_out)

    def source_of(self, region: Region) -> Region:
        """Return the input region that `region` of the output grid depends on."""
        y = self.y.support(region.start[1], region.stop[1])
        x = self.x.support(region.start[2], region.stop[2])
        return Region((region.start[0], y[0], x[0]), (region.stop[0], y[1], x[1]))

    def apply(self, block: Voxels, source: Region, target: Region) -> Voxels:
        """Resample one block.

        Args:
            block: uint8 or uint16 zyx, the voxels of `source`, which contains `source_of(target)`.
            source: where `block` lies on the input grid.
            target: the region of the output grid that is wanted.

        Returns:
            The voxels of `target`, zyx, in the dtype of `block`.
        """
        if self.is_identity:
            return block[target.relative_to(source.start).slices]
        out = np.empty(target.shape, block.dtype)
        window = target.relative_to(source.start)
        along_y = _Pass.of(self.y, target.start[1], target.stop[1], source.start[1], block.dtype)
        along_x = _Pass.of(self.x, target.start[2], target.stop[2], source.start[2], block.dtype)
        shrinks = self.y.scale >= 1.0
        # One slice at a time stays in the cache; the pass that leaves less for the other comes first.
        for z in range(target.shape[0]):
            rows = block[window.start[0] + z]
            out[z] = along_x.columns(along_y.rows(rows)) if shrinks else along_y.rows(along_x.columns(rows))
        return out


@dataclass(frozen=True)
class _Pass:
    """The weighted sum along one axis of a 2D array, in integers."""

    axis: Axis
    taps: Taps
    first: int
    bits: int
    accumulator: np.dtype[np.unsignedinteger]

    @classmethod
    def of(cls, axis: Axis, start: int, stop: int, origin: int, dtype: np.dtype[np.generic]) -> "_Pass":
        # 255 * 2^8 fits 16 bits and 65535 * 2^15 fits 32 bits, rounding included.
        bits, accumulator = (8, np.dtype(np.uint16)) if dtype == np.uint8 else (15, np.dtype(np.uint32))
        taps = axis.taps(start, stop, bits)
        return cls(axis, Taps(taps.index - origin, taps.weight), start, bits, accumulator)

    @cached_property
    def weight(self) -> NDArray[np.unsignedinteger]:
        return self.taps.weight.astype(self.accumulator)

    def rows(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Sum along y."""
        if self.axis.is_identity:
            same: NDArray[np.generic] = image[self.taps.index[0]]
            return same
        total = np.zeros((self.taps.index.shape[1], image.shape[1]), self.accumulator)
        for index, weight in zip(self.taps.index, self.weight, strict=True):
            total += image[index] * weight[:, None]
        return self._rounded(total, image.dtype)

    def columns(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Sum along x."""
        if self.axis.is_identity:
            return image[:, self.taps.index[0]]
        total = np.zeros((image.shape[0], self.taps.index.shape[1]), self.accumulator)
        for index, weight in zip(self.taps.index, self.weight, strict=True):
            total += np.take(image, index, axis=1) * weight
        return self._rounded(total, image.dtype)

    def _rounded(
        self, total: NDArray[np.unsignedinteger], dtype: np.dtype[np.generic]
    ) -> NDArray[np.generic]:
        total += self.accumulator.type(1 << (self.bits - 1))
        total >>= self.accumulator.type(self.bits)
        rounded: NDArray[np.generic] = total.astype(dtype)
        return rounded


def to_working(shape: Triple, voxel_nm: Spacing, working_nm: float | None) -> Resampling:
    """Plan the resampling from a volume's own grid to the working grid.

    Args:
        shape: voxels of the volume, zyx.
        voxel_nm: its voxel size in nm, zyx.
        working_nm: in-plane voxel size to work at; None leaves the grid as it is.

    The working grid covers the whole volume: its last row and column may reach over the edge.
    """
    scale_y, scale_x = (
        (1.0, 1.0) if working_nm is None else (working_nm / voxel_nm[1], working_nm / voxel_nm[2])
    )
    return Resampling(shape[0], _axis(shape[1], scale_y), _axis(shape[2], scale_x))


def inverse(forward: Resampling) -> Resampling:
    """Plan the way back, from the working grid to the volume's own."""
    return Resampling(forward.z, _turned(forward.y), _turned(forward.x))


def resample_slices(volume: Voxels, voxel_nm: Spacing, working_nm: float | None) -> Voxels:
    """Resample a whole volume in memory to the working grid, zyx, in its own dtype."""
    plan = to_working((volume.shape[0], volume.shape[1], volume.shape[2]), voxel_nm, working_nm)
    source = Region((0, 0, 0), plan.shape_in)
    return plan.apply(volume, source, Region((0, 0, 0), plan.shape_out))


def _axis(n: int, scale: float) -> Axis:
    if abs(scale - 1.0) < _SAME_SCALE:
        return Axis(n, n, 1.0)
    return Axis(n, max(1, ceil(n / scale - _EPSILON_PX)), scale)


def _turned(axis: Axis) -> Axis:
    return Axis(axis.n_out, axis.n_in, 1.0 / axis.scale)
