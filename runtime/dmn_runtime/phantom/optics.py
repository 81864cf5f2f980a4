"""From electron density to grey values: contrast, blur, uneven brightness, charging and noise."""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.phantom.fields import Field, gaussian, gaussian_plane
from dmn_runtime.phantom.regimes import Range, Regime


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
        stained = density[z] + grain * grains(z) * (0.35 + 0.5 * density[z]) * (1.05 - density[z])
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


def _grains(shape, isotropic, voxel_nm, generator):  # type: ignore[no-untyped-def]
    sigma = 9.0 / voxel_nm

    def fresh() -> Field:
        plane = gaussian_plane(generator.standard_normal(shape[1:]).astype(np.float32), sigma)
        return plane / max(float(plane.std()), 1e-6)

    history = [fresh(), fresh(), fresh()]

    def at(z: int) -> Field:
        if not isotropic:
            return fresh()
        history.append(fresh())
        history.pop(0)
        return np.asarray((history[0] + 1.6 * history[1] + history[2]) / 2.13, np.float32)

    return at


def _uneven(shape: tuple[int, ...], tilt: NDArray[np.float64]) -> Field:
    """A plane plus a saddle over the field of view."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    a, b, c, d, e = (np.float32(t) * np.float32(0.5) for t in tilt)
    return a * y + b * x + c * y * x + d * (y * y - 0.33) + e * (x * x - 0.33)


def _charging(density: Field, strength: float, generator: np.random.Generator) -> Field:
    """Streaks along the scan line behind light areas, and bands where the beam settles."""
    shape = density.shape
    light = gaussian(np.clip(0.35 - density, 0, None).astype(np.float32), 12.0, 1)
    rows = gaussian(generator.standard_normal(shape).astype(np.float32), 40.0, 1)
    rows = gaussian(rows, 1.0, 0)
    bands = gaussian(generator.standard_normal((shape[0], 1)).astype(np.float32), 3.0, 0)
    scale = lambda a: a / max(float(a.std()), 1e-6)  # noqa: E731
    return np.asarray(
        strength * (0.35 * scale(rows) * scale(light) * 0.4 + 0.15 * scale(rows) + 0.25 * scale(bands)),
        np.float32,
    )
