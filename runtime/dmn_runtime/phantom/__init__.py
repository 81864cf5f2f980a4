"""Procedural electron microscopy: tissue with mitochondria and their exact truth (docs/phantom.md).

Everything is a function of positions in nm, so slices are coherent and the truth is the geometry itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.phantom.bodies import Body, place_distractors, place_mitochondria
from dmn_runtime.phantom.cells import Cells, Tissue, grow_tissue, tessellate
from dmn_runtime.phantom.density import Stain, choose_stain, draw_body, draw_cells, draw_vesicles
from dmn_runtime.phantom.fields import Field, Grid, Noise, noise, smoothstep, stream
from dmn_runtime.phantom.optics import expose
from dmn_runtime.phantom.regimes import REGIMES, Regime, find_regime

__all__ = ["REGIMES", "Phantom", "make_phantom"]

CHUNK_VOXELS = 3_000_000
WARP_NM = (140.0, 35.0)
WARP_PITCH_NM = (1100.0, 260.0)
SLACK_NM = 700.0
FOREGROUND_SHARE = (0.06, 0.105)


@dataclass(frozen=True)
class Phantom:
    """A made-up volume and its truth.

    Attributes:
        image: uint8 zyx.
        mask: uint8 zyx, 1 = mitochondrion.
        voxel_nm: voxel size, zyx.
        regime: name of the acquisition regime.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    voxel_nm: Spacing
    regime: str


def make_phantom(shape: Triple, *, seed: int, voxel_nm: float = 10.0, regime: str | None = None) -> Phantom:
    """Make a volume of tissue as an electron microscope would show it, with its mitochondria.

    Args:
        shape: voxels, zyx.
        seed: the same numbers give the same volume.
        voxel_nm: pixel size in the plane; the slice distance is the regime's.
        regime: a key of `REGIMES`; None lets the seed choose.

    Raises:
        UsageError: an unknown regime, an empty shape or a pixel size that is not positive.
    """
    if min(shape) < 1 or not voxel_nm > 0:
        raise UsageError(
            f"a phantom of shape {shape} at {voxel_nm} nm cannot be made: give a shape and a pixel size above 0"
        )
    name = regime if regime is not None else list(REGIMES)[int(stream(seed, 0).integers(len(REGIMES)))]
    rule = find_regime(name)
    spacing = (rule.section_nm or voxel_nm, voxel_nm, voxel_nm)
    density, mask = _Scene(shape, spacing, rule, seed).draw()
    image = expose(density, rule, voxel_nm, stream(seed, 9))
    return Phantom(image, mask, spacing, name)


class _Scene:
    """Everything drawn once for a volume: tissue, organelles, fields; drawn in chunks of slices."""

    def __init__(self, shape: Triple, voxel_nm: Spacing, rule: Regime, seed: int) -> None:
        self.shape, self.voxel_nm, self.rule, self.seed = shape, voxel_nm, rule, seed
        z, y, x = (n * v for n, v in zip(shape, voxel_nm, strict=True))
        self.extent_nm = (z, y, x)
        self.section_nm = rule.section_nm or voxel_nm[0]
        tune = stream(seed, 1)
        self.tissue = grow_tissue(self.extent_nm, stream(seed, 2))
        radius = np.bincount(self.tissue.cell, self.tissue.radius) / np.bincount(self.tissue.cell)
        self.stain = choose_stain(
            self.tissue.cells,
            radius,
            float(tune.uniform(*rule.matrix)),
            float(tune.uniform(*rule.cristae)),
            stream(seed, 3),
        )
        share = float(tune.uniform(*FOREGROUND_SHARE))
        mitochondria = place_mitochondria(
            self.tissue, self.stain.margin_nm, self.extent_nm, share, stream(seed, 4)
        )
        self.bodies = [
            *mitochondria,
            *place_distractors(
                self.tissue, self.stain.margin_nm, self.extent_nm, mitochondria, stream(seed, 5)
            ),
        ]
        self.shift_nm = rule.shift_nm * stream(seed, 6).standard_normal((shape[0], 2))
        self.warp = [
            [noise(stream(seed, 7, a, i), self.extent_nm, (p, p, p)) for i, p in enumerate(WARP_PITCH_NM)]
            for a in range(3)
        ]
        pitches = {
            "patches": 450.0,
            "mottle": 90.0,
            "tube0": 190.0,
            "tube1": 190.0,
            "rod0": 90.0,
            "rod1": 90.0,
            "lamellae": 75.0,
        }
        self.fields: dict[str, Noise] = {
            name: noise(stream(seed, 8, i), self.extent_nm, (p, p, p))
            for i, (name, p) in enumerate(pitches.items())
        }

    def draw(self) -> tuple[Field, NDArray[np.uint8]]:
        density = np.empty(self.shape, np.float32)
        mask = np.zeros(self.shape, np.uint8)
        step = max(1, CHUNK_VOXELS // (self.shape[1] * self.shape[2]))
        for z in range(0, self.shape[0], step):
            part = slice(z, min(z + step, self.shape[0]))
            density[part] = self._draw_chunk(part, mask[part])
        return density, mask

    def _draw_chunk(self, part: slice, mask: NDArray[np.uint8]) -> Field:
        grid = Grid(*((np.arange(n) + 0.5) * v for n, v in zip(self.shape, self.voxel_nm, strict=True)))
        grid = Grid(grid.z[part], grid.y, grid.x)
        points = self._points(grid, self.shift_nm[part])
        fields = {name: field.on(grid) for name, field in self.fields.items()}
        cells = tessellate(self.tissue, points)
        density = draw_cells(cells, self.stain, fields, self.section_nm)
        free = np.ones(density.shape, bool)
        low = np.array([grid.z[0], grid.y[0], grid.x[0]])
        for body in self.bodies:
            box = self._box(body, low, density.shape)
            if box is not None:
                before = mask[box].copy()
                draw_body(
                    body,
                    points[(slice(None), *box)],
                    _cut(cells, box),
                    self.stain,
                    fields["lamellae"][box],
                    self.section_nm,
                    density[box],
                    mask[box],
                )
                del before
        free = mask == 0
        where = self.stain.vesicles[cells.cell] & (cells.depth_nm > 26) & (fields["patches"] > 0.1)
        draw_vesicles(
            points, where, 58.0, stream(self.seed, 10), self.extent_nm, self.section_nm, density, free
        )
        return density

    def _points(self, grid: Grid, shift_nm: NDArray[np.float64]) -> Field:
        points = np.empty((3, *grid.shape), np.float32)
        for axis, values in enumerate(np.meshgrid(grid.z, grid.y, grid.x, indexing="ij", sparse=True)):
            points[axis] = values
            for field, size in zip(self.warp[axis], WARP_NM, strict=True):
                points[axis] += np.float32(size) * field.on(grid)
        points[1] += shift_nm[:, 0].astype(np.float32)[:, None, None]
        points[2] += shift_nm[:, 1].astype(np.float32)[:, None, None]
        return points

    def _box(
        self, body: Body, low_nm: NDArray[np.float64], shape: tuple[int, ...]
    ) -> tuple[slice, slice, slice] | None:
        low, high = body.box(SLACK_NM)
        first = np.clip(np.floor((low - low_nm) / self.voxel_nm).astype(int), 0, shape)
        last = np.clip(np.ceil((high - low_nm) / self.voxel_nm).astype(int), 0, shape)
        if (first >= last).any():
            return None
        a, b, c = (slice(int(i), int(j)) for i, j in zip(first, last, strict=True))
        return (a, b, c)


def _cut(cells: Cells, box: tuple[slice, slice, slice]) -> Cells:
    return Cells(cells.cell[box], cells.depth_nm[box], cells.steepness[box])
