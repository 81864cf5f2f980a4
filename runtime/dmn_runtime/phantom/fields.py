"""Random smooth fields and Gaussian filters in NumPy: what every other room of the phantom draws with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing

Field = NDArray[np.float32]


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Return the random stream of one purpose: the same on every machine for the same numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *keys])))


@dataclass(frozen=True)
class Grid:
    """Positions of a box of voxels in nm.

    Attributes:
        z, y, x: voxel centres along each axis, nm.
    """

    z: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of positions along z, y, x."""
        return (len(self.z), len(self.y), len(self.x))


@dataclass(frozen=True)
class Noise:
    """A smooth random field: a uniform cubic B-spline over a lattice of independent normal values.

    Attributes:
        values: lattice coefficients, float32 zyx, scaled so that the field has unit variance.
        pitch_nm: distance of lattice points, zyx.
        origin_nm: position of the first lattice point, zyx.
    """

    values: Field
    pitch_nm: Spacing
    origin_nm: Spacing

    def on(self, grid: Grid) -> Field:
        """Return the field at the grid's positions, float32 zyx."""
        axes = (grid.z, grid.y, grid.x)
        wz, wy, wx = (
            _spline_weights(axes[i], self.origin_nm[i], self.pitch_nm[i], self.values.shape[i])
            for i in range(3)
        )
        # Along z first: a chunk has fewer slices than the lattice may have planes.
        return np.asarray(wy @ np.tensordot(wz, self.values, 1) @ wx.T, np.float32)


def noise(generator: np.random.Generator, extent_nm: Spacing, pitch_nm: Spacing) -> Noise:
    """Draw a smooth field over the box from 0 to `extent_nm` whose features are about `pitch_nm` wide."""
    z, y, x = (int(np.ceil(e / p)) + 5 for e, p in zip(extent_nm, pitch_nm, strict=True))
    lattice = generator.standard_normal((z, y, x)).astype(np.float32)
    # A cubic B-spline at a uniformly random phase keeps 0.479 of the lattice's variance along each axis.
    return Noise(
        lattice / np.float32(0.479**1.5), pitch_nm, (-2 * pitch_nm[0], -2 * pitch_nm[1], -2 * pitch_nm[2])
    )


def _spline_weights(at: NDArray[np.float64], origin: float, pitch: float, count: int) -> Field:
    """Weights (positions, lattice points) of the uniform cubic B-spline."""
    distance = np.abs((at[:, None] - origin) / pitch - np.arange(count)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def gaussian(image: Field, sigma: float, axis: int) -> Field:
    """Filter along one axis with a Gaussian of `sigma` samples, edges repeated; 0 leaves it alone."""
    reach = int(np.ceil(3 * sigma))
    if reach == 0 or image.shape[axis] == 1:
        return image
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    widths = [(reach, reach) if i == axis else (0, 0) for i in range(image.ndim)]
    padded = np.moveaxis(np.pad(image, widths, mode="edge"), axis, 0)
    length = image.shape[axis]
    filtered = sum(weight * padded[i : i + length] for i, weight in enumerate(kernel))
    return np.moveaxis(np.asarray(filtered, np.float32), 0, axis)


def gaussian_plane(image: Field, sigma: float) -> Field:
    """Filter the last two axes (y, x) with a Gaussian of `sigma` pixels."""
    return gaussian(gaussian(image, sigma, image.ndim - 1), sigma, image.ndim - 2)


def smoothstep(low: float, high: float, value: Field) -> Field:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
