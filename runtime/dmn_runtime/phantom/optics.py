"""From electron density to grey values: contrast, blur, uneven brightness, charging and noise."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.phantom.fields import Field, gaussian, gaussian_plane, smoothstep
from dmn_runtime.phantom.regimes import Range, Regime

GRAIN_NM = 9.0


def expose(
    density: Field, regime: Regime, voxel_nm: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Turn density (float32 zyx, 0 = resin, 1 = densest) into a uint8 image, slice by slice."""
    background, contrast, blur, shot, read, gradient, smear, grain = (
        _draw(span, generator)
        for span in (
            regime.background, regime.contrast, regime.blur_nm, regime.shot, regime.read,
            regime.gradient, regime.smear, regime.grain,
        )
    )  # fmt: skip
    image = np.empty(density.shape, np.uint8)
    tilt = generator.standard_normal(5) * gradient
    isotropic = regime.section_nm is None
    grains = _grains(density.shape, isotropic, voxel_nm, generator)
    for z in range(len(density)):
        stained = density[z] + grain * next(grains) * (0.35 + 0.5 * density[z]) * (1.05 - density[z])
        grey = background - contrast * gaussian_plane(stained, blur / voxel_nm)
        grey += _uneven(density.shape[1:], tilt)
        grey = grey * (1 + regime.flicker * generator.standard_normal())
        grey += 0.5 * regime.flicker * generator.standard_normal()
        if smear > 0:
            grey += _charging(stained, smear, generator)
        strength = np.sqrt(shot**2 * np.clip(grey, 0.05, 1) + read**2)
        grey += strength * generator.standard_normal(grey.shape).astype(np.float32)
        image[z] = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    return image


def _draw(span: Range, generator: np.random.Generator) -> float:
    return float(generator.uniform(*span))


def _grains(
    shape: tuple[int, ...], isotropic: bool, voxel_nm: float, generator: np.random.Generator
) -> Iterator[Field]:
    """Yield each slice's granules, unit variance; in isotropic volumes they last three slices."""

    def fresh() -> Field:
        plane = generator.standard_normal(shape[1:], np.float32)
        plane = gaussian_plane(plane, GRAIN_NM / voxel_nm)
        return np.asarray(plane / max(float(plane.std()), 1e-6), np.float32)

    before, here = fresh(), fresh()
    while True:
        after = fresh()
        yield np.asarray((before + 1.6 * here + after) / np.sqrt(4.56), np.float32) if isotropic else after
        before, here = here, after


def _uneven(shape: tuple[int, ...], tilt: NDArray[np.float64]) -> Field:
    """A plane plus a saddle over the field of view."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    a, b, c, d, e = (np.float32(t) * np.float32(0.5) for t in tilt)
    return np.asarray(a * y + b * x + c * y * x + d * (y * y - 0.33) + e * (x * x - 0.33), np.float32)


def _charging(density: Field, strength: float, generator: np.random.Generator) -> Field:
    """Streaks along the scan line behind light areas, and bands where the beam settles."""

    def draw(rows: int, columns: int, sigma_y: float, sigma_x: float) -> Field:
        field = gaussian(generator.standard_normal((rows, columns)).astype(np.float32), sigma_x, 1)
        field = gaussian(field, sigma_y, 0)
        return np.asarray(field / max(float(field.std()), 1e-6), np.float32)

    rows, columns = density.shape
    light = smoothstep(0.3, 0.1, gaussian(density, 15.0, 1))
    streaks = draw(rows, columns, 1.5, 60.0) * light
    blotches = draw(-(-rows // 16), -(-columns // 16), 3.0, 3.0).repeat(16, 0).repeat(16, 1)[:rows, :columns]
    bands = draw(rows, 1, 2.5, 0.0)
    return np.asarray(
        strength * (0.35 * streaks + 0.3 * bands + 0.5 * gaussian_plane(blotches, 8.0)), np.float32
    )
