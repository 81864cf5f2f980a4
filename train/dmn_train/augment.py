"""Random changes of crops: geometry of image and mask alike, intensity of the image alone.

Everything is drawn from the generators that the caller gives, so that a batch is a function of its seed. Each
crop has its own parameters; a crop that a change passes over gets the neutral ones.
"""

from dataclasses import dataclass
from math import ceil, cos, radians, sin

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dmn_train.sections import AugmentSection

ELASTIC_KNOTS = 5
LUT_SIZE = 1024
CURVE_KNOTS = 7
BLUR_KERNEL_PX = 9
FIELD_KNOTS = 4
LOCAL_MEAN_PX = 16


def window_px(section: AugmentSection, crop_px: int) -> int:
    """Return the edge of the square of source pixels that a crop of `crop_px` may need.

    Of the same parity as the crop, so that an unchanged crop falls on whole pixels.
    """
    edge = float(crop_px)
    if section.warp > 0:
        angle = radians(min(section.rotate_degrees, 45.0))
        edge *= section.scale * (cos(angle) + sin(angle))
    if section.elastic > 0:
        edge += 4.0 * section.elastic_px
    rounded = ceil(edge)
    return rounded + (rounded - crop_px) % 2


@dataclass(frozen=True)
class Warp:
    """Where each crop looks: `grid` is nhw2 in its window's normalised (x, y), corners aligned."""

    grid: Tensor

    def image(self, window: Tensor) -> Tensor:
        """Cut the crops out of image windows, nchw, by linear interpolation."""
        return functional.grid_sample(
            window, self.grid, mode="bilinear", padding_mode="reflection", align_corners=True
        )

    def labels(self, window: Tensor) -> Tensor:
        """Cut the crops out of label windows, n1hw float, by the nearest pixel."""
        return functional.grid_sample(
            window, self.grid, mode="nearest", padding_mode="reflection", align_corners=True
        )


def draw_warp(rng: Generator, section: AugmentSection, count: int, crop_px: int, edge_px: int) -> Warp:
    """Draw the geometry of `count` crops of `crop_px` from windows of `edge_px`."""
    matrices = np.stack([_matrix(rng, section) for _ in range(count)])
    axis = (torch.arange(crop_px) - (crop_px - 1) / 2.0).expand(crop_px, crop_px)
    offsets = torch.stack([axis, axis.T], dim=-1)  # (x, y) of every pixel of a crop
    grid = offsets @ _tensor(matrices).transpose(1, 2)[:, None]
    chosen = rng.random((count, 1, 1, 1)) < section.elastic
    knots = rng.normal(0.0, 1.0, (count, 2, ELASTIC_KNOTS, ELASTIC_KNOTS)).clip(-2.0, 2.0)
    if chosen.any():
        knots *= chosen * section.elastic_px
        grid = grid + _upsampled(knots, crop_px, crop_px).permute(0, 2, 3, 1)
    return Warp(grid * (2.0 / max(1, edge_px - 1)))


def _matrix(rng: Generator, section: AugmentSection) -> NDArray[np.float64]:
    """Draw the 2x2 matrix from a crop's offsets (x, y) to the window's."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    warped = rng.random() < section.warp
    angle = radians(rng.uniform(-section.rotate_degrees, section.rotate_degrees))
    zoom = section.scale ** rng.uniform(-1.0, 1.0)
    matrix = np.eye(2)
    if section.flip:
        quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
        matrix = np.linalg.matrix_power(quarter, turns) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    if warped:
        matrix = zoom * np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]]) @ matrix
    return matrix


def change_intensity(
    image: Tensor, rng: Generator, generator: torch.Generator, strength: float, clip: float
) -> Tensor:
    """Return crops with other contrast, sharpness, illumination, noise and damage.

    Args:
        image: nchw normalised intensities, within -clip to clip.
        rng: gives the parameters.
        generator: gives the noise.
        strength: 0 returns the crops as they are, 1 is strong.
        clip: bound of normalised intensities.

    Returns:
        nchw float32 within -clip to clip.
    """
    if strength <= 0:
        return image
    image = _look_up(image, _tables(rng, len(image), strength, clip), clip)
    image = _focus(image, rng, strength)
    image = _illumination(image, rng, strength)
    image = _flicker(image, rng, strength)
    image = _noise(image, rng, generator, strength)
    image = _damage(image, rng, strength)
    return image.clamp(-clip, clip)


def _tables(rng: Generator, count: int, strength: float, clip: float) -> NDArray[np.float32]:
    """Draw a table each: gamma or a random rising curve, then contrast and brightness."""
    level = np.linspace(-clip, clip, LUT_SIZE)
    tables = np.empty((count, LUT_SIZE), np.float32)
    for row in tables:
        value = level
        kind = rng.random()
        gamma = np.exp(rng.normal(0.0, 0.35 * strength))
        rises = np.exp(rng.normal(0.0, 0.6 * strength, CURVE_KNOTS - 1))
        if kind < 0.35:
            value = 2.0 * np.clip((value + 1.0) / 2.0, 0.0, None) ** gamma - 1.0
        elif kind < 0.7:
            knots = np.concatenate([[0.0], np.cumsum(rises)])
            curve = np.interp(value, np.linspace(-1.0, 1.0, CURVE_KNOTS), 2.0 * knots / knots[-1] - 1.0)
            value = np.where(np.abs(value) <= 1.0, curve, value)
        gain = np.exp(rng.normal(0.0, 0.25 * strength))
        offset = rng.normal(0.0, 0.2 * strength)
        row[:] = gain * value + offset
    return tables


def _look_up(image: Tensor, tables: NDArray[np.float32], clip: float) -> Tensor:
    index = ((image + clip) * ((LUT_SIZE - 1) / (2.0 * clip))).round().long().clamp_(0, LUT_SIZE - 1)
    return torch.from_numpy(tables).gather(1, index.flatten(1)).reshape(image.shape)


def _focus(image: Tensor, rng: Generator, strength: float) -> Tensor:
    """Blur some crops, sharpen others: image + amount * (image - blurred), amount -1 being a blur."""
    count = len(image)
    kind = rng.random(count)
    sigma = rng.uniform(0.4, 0.4 + 1.4 * strength, count)
    sharper = rng.uniform(0.3, 0.3 + 1.5 * strength, count)
    amount = np.where(kind < 0.3, -1.0, np.where(kind < 0.45, sharper, 0.0))
    chosen = np.flatnonzero(amount)
    if len(chosen) == 0:
        return image
    some = image[chosen]
    width = torch.from_numpy(np.repeat(sigma[chosen, None], 2, axis=1).astype(np.float32))
    blurred = gaussian_blur2d(some, BLUR_KERNEL_PX, width, border_type="reflect")
    changed = image.clone()
    changed[chosen] = some + _column(amount[chosen]) * (some - blurred)
    return changed


def _illumination(image: Tensor, rng: Generator, strength: float) -> Tensor:
    """Vary gain and offset smoothly over the crop, and flatten or deepen the local mean."""
    count, _, height, width = image.shape
    chosen = rng.random((count, 1, 1, 1)) < 0.4
    fields = rng.normal(0.0, 0.2 * strength, (count, 2, FIELD_KNOTS, FIELD_KNOTS))
    smooth = _upsampled(fields * chosen, height, width)
    image = image * (1.0 + smooth[:, :1]) + smooth[:, 1:]
    flatten = np.where(rng.random(count) < 0.25, rng.uniform(-0.3, 0.8, count) * strength, 0.0)
    if not flatten.any():
        return image
    coarse = functional.avg_pool2d(image, LOCAL_MEAN_PX, ceil_mode=True)
    mean = functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return image - _column(flatten) * mean


def _flicker(image: Tensor, rng: Generator, strength: float) -> Tensor:
    """Let neighbouring slices differ in gain and offset; a single slice has no neighbour to differ from."""
    count, channels = image.shape[:2]
    if channels == 1:
        return image
    gain = np.exp(rng.normal(0.0, 0.06 * strength, (count, channels, 1, 1)))
    offset = rng.normal(0.0, 0.06 * strength, (count, channels, 1, 1))
    return image * _tensor(gain) + _tensor(offset)


def _noise(image: Tensor, rng: Generator, generator: torch.Generator, strength: float) -> Tensor:
    """Add white noise, and to some crops noise that is correlated over two pixels."""
    count, channels, height, width = image.shape
    white = np.where(rng.random(count) < 0.5, rng.uniform(0.0, 0.35 * strength, count), 0.0)
    coarse = np.where(rng.random(count) < 0.25, rng.uniform(0.0, 0.25 * strength, count), 0.0)
    image = image + _column(white) * torch.randn(image.shape, generator=generator)
    if not coarse.any():
        return image
    grain = torch.randn((count, channels, height // 2 + 1, width // 2 + 1), generator=generator)
    smooth = functional.interpolate(grain, scale_factor=2.0, mode="bilinear", align_corners=False)
    return image + _column(coarse) * smooth[:, :, :height, :width]


def _damage(image: Tensor, rng: Generator, strength: float) -> Tensor:
    """Lay bright or dark charging blobs and flat patches over some crops; the labels stay."""
    count, _, height, width = image.shape
    rows = torch.arange(height, dtype=torch.float32)[:, None]
    columns = torch.arange(width, dtype=torch.float32)[None, :]
    image = image.clone()
    for index in range(count):
        blob, patch = rng.random(2) < 0.15 * strength
        y, x = rng.uniform(0.0, height), rng.uniform(0.0, width)
        radius, amplitude = rng.uniform(4.0, 30.0), rng.uniform(-1.0, 1.0)
        edge, level = int(rng.integers(6, 25)), rng.uniform(-1.0, 1.0)
        top, left = int(rng.integers(height)), int(rng.integers(width))
        if blob:
            bump = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2.0 * radius**2))
            image[index] += amplitude * bump
        if patch:
            image[index, :, top : top + edge, left : left + edge] = level
    return image


def _upsampled(knots: NDArray[np.float64], height: int, width: int) -> Tensor:
    """Return smooth fields through coarse knots, nchw."""
    return functional.interpolate(_tensor(knots), (height, width), mode="bicubic", align_corners=True)


def _column(values: NDArray[np.float64]) -> Tensor:
    """Return one value a crop, to be broadcast over nchw."""
    return _tensor(values)[:, None, None, None]


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
