"""A scene: the tissue, organelles and fields of one volume, and how it is drawn, a few slices at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.phantom.bodies import Body, place_distractors, place_mitochondria
from dmn_runtime.phantom.cells import Cells, Tissue, grow_tissue, tessellate
from dmn_runtime.phantom.density import (
    RIM_REACH_NM,
    Stain,
    choose_stain,
    draw_body,
    draw_cells,
    draw_vesicles,
)
from dmn_runtime.phantom.fields import Field, Grid, Noise, noise, smoothstep, stream
from dmn_runtime.phantom.regimes import Regime

CHUNK_VOXELS = 1_500_000
DRAWING_THREADS = 4
WARP_NM = {1000.0: 130.0, 300.0: 45.0, 110.0: 10.0}
"""Feature width to amplitude of the displacement that bends all geometry, both in nm."""
FOREGROUND_SHARE = (0.055, 0.1)
FIELD_PITCH_NM = {
    "patches": 450.0,
    "mottle": 90.0,
    "contact": 260.0,
    "tube0": 190.0,
    "tube1": 190.0,
    "rod0": 90.0,
    "rod1": 90.0,
    "lamellae": 75.0,
}
"""The fields that density is modulated with, by feature width."""
VESICLE_LATTICE_NM = 58.0
INDEX_PX = 16
PROBE_NM = 60.0
PROBE_MOST = 200


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn once for a volume.

    Attributes:
        shape: voxels, zyx.
        voxel_nm: voxel size, zyx.
        section_nm: how thick a slice each voxel averages over.
        seed: the volume's seed.
        tissue: seeds of the cells.
        stain: how the cells take up stain.
        bodies: mitochondria and distractors.
        warp: for each axis the fields, and their amplitudes in nm, that displace positions.
        fields: by the names of `FIELD_PITCH_NM`.
        shift_nm: (z, 2) misalignment of each slice along y and x.
    """

    shape: Triple
    voxel_nm: Spacing
    section_nm: float
    seed: int
    tissue: Tissue
    stain: Stain
    bodies: tuple[Body, ...]
    warp: tuple[tuple[tuple[Noise, float], ...], ...]
    fields: dict[str, Noise]
    shift_nm: NDArray[np.float64]


def compose(shape: Triple, voxel_nm: Spacing, regime: Regime, seed: int) -> Scene:
    """Draw the scene of a volume: the same numbers give the same scene."""
    extent_nm = _extent(shape, voxel_nm)
    tune = stream(seed, 1)
    matrix, cristae, share = (
        float(tune.uniform(*span)) for span in (regime.matrix, regime.cristae, FOREGROUND_SHARE)
    )
    tissue = grow_tissue(extent_nm, stream(seed, 2))
    thickness = np.bincount(tissue.cell, tissue.radius) / np.bincount(tissue.cell)
    stain = choose_stain(thickness, matrix, cristae, stream(seed, 3))
    warp = tuple(
        tuple(
            (noise(stream(seed, 7, axis, i), extent_nm, (pitch, pitch, pitch)), size)
            for i, (pitch, size) in enumerate(WARP_NM.items())
        )
        for axis in range(3)
    )
    probe = _positions(_probe(extent_nm), warp)
    mitochondria = place_mitochondria(
        tissue, stain.margin_nm, probe, tessellate(tissue, probe), share, stream(seed, 4)
    )
    distractors = place_distractors(tissue, stain.margin_nm, extent_nm, mitochondria, stream(seed, 5))
    return Scene(
        shape,
        voxel_nm,
        regime.section_nm or voxel_nm[0],
        seed,
        tissue,
        stain,
        (*mitochondria, *distractors),
        warp,
        {
            name: noise(stream(seed, 8, i), extent_nm, (pitch, pitch, pitch))
            for i, (name, pitch) in enumerate(FIELD_PITCH_NM.items())
        },
        regime.shift_nm * stream(seed, 6).standard_normal((shape[0], 2)),
    )


def draw(scene: Scene) -> tuple[Field, NDArray[np.uint8]]:
    """Return electron density (float32 zyx, 0 = resin, 1 = densest) and the mask (uint8 zyx)."""
    density = np.empty(scene.shape, np.float32)
    mask = np.zeros(scene.shape, np.uint8)
    step = max(1, CHUNK_VOXELS // (scene.shape[1] * scene.shape[2]))
    parts = [slice(z, min(z + step, scene.shape[0])) for z in range(0, scene.shape[0], step)]
    with ThreadPoolExecutor(min(DRAWING_THREADS, os.cpu_count() or 1)) as pool:
        for done in [pool.submit(_draw_chunk, scene, part, density[part], mask[part]) for part in parts]:
            done.result()
    return density, mask


def _draw_chunk(scene: Scene, part: slice, density: Field, mask: NDArray[np.uint8]) -> None:
    grid = _grid(scene.shape, scene.voxel_nm)
    grid = Grid(grid.z[part], grid.y, grid.x)
    points = _positions(grid, scene.warp)
    points[1:] += scene.shift_nm[part].T.astype(np.float32)[:, :, None, None]
    fields = {name: field.on(grid) for name, field in scene.fields.items()}
    cells = tessellate(scene.tissue, points)
    density[:] = draw_cells(cells, scene.stain, fields, scene.section_nm)
    index = _BoxIndex(points)
    for body in scene.bodies:
        box = index.find(*body.box(RIM_REACH_NM + 1.0))
        if box is not None:
            draw_body(
                body, points[(slice(None), *box)], _cut(cells, box), scene.stain, fields["lamellae"][box],
                scene.section_nm, density[box], mask[box],
            )  # fmt: skip
    crowd = np.float32(0.85) * smoothstep(-0.2, 0.9, fields["patches"])
    crowd *= scene.stain.vesicles[cells.cell] & (cells.depth_nm > 26) & (mask == 0)
    draw_vesicles(
        points, crowd, VESICLE_LATTICE_NM, _extent(scene.shape, scene.voxel_nm), scene.section_nm,
        stream(scene.seed, 10), density,
    )  # fmt: skip


def _grid(counts: Triple, pitch_nm: Spacing) -> Grid:
    """Return the middles of `counts` cells of `pitch_nm`."""
    z, y, x = ((np.arange(n, dtype=np.float64) + 0.5) * p for n, p in zip(counts, pitch_nm, strict=True))
    return Grid(z, y, x)


def _extent(shape: Triple, voxel_nm: Spacing) -> Spacing:
    z, y, x = (n * v for n, v in zip(shape, voxel_nm, strict=True))
    return (z, y, x)


def _positions(grid: Grid, warp: tuple[tuple[tuple[Noise, float], ...], ...]) -> Field:
    """Return where in the tissue each voxel of a grid lies: float32 (3, z, y, x) in nm."""
    points = np.empty((3, *grid.shape), np.float32)
    straight = np.meshgrid(grid.z, grid.y, grid.x, indexing="ij", sparse=True)
    for axis, (values, fields) in enumerate(zip(straight, warp, strict=True)):
        points[axis] = values
        for field, size in fields:
            points[axis] += np.float32(size) * field.on(grid)
    return points


def _probe(extent_nm: Spacing) -> Grid:
    """Return positions spread over the volume, `PROBE_NM` apart, at most `PROBE_MOST` along an axis."""
    z, y, x = (int(np.clip(np.ceil(e / PROBE_NM), 1, PROBE_MOST)) for e in extent_nm)
    return _grid((z, y, x), (extent_nm[0] / z, extent_nm[1] / y, extent_nm[2] / x))


def _cut(cells: Cells, box: tuple[slice, slice, slice]) -> Cells:
    return Cells(cells.cell[box], cells.depth_nm[box], cells.steepness[box])


@final
class _BoxIndex:
    """Which part of a chunk can hold a given box of positions: bounds of the positions, tile by tile."""

    def __init__(self, points_nm: Field) -> None:
        self.slices = points_nm.shape[1]
        rows, columns = (np.arange(0, n, INDEX_PX) for n in points_nm.shape[2:])

        def bounds(reduce: np.ufunc, of: Field) -> Field:
            return np.asarray(reduce.reduceat(reduce.reduceat(of, rows, axis=1), columns, axis=2))

        self.low = bounds(np.minimum, points_nm.min(1))
        self.high = bounds(np.maximum, points_nm.max(1))

    def find(
        self, low_nm: NDArray[np.float64], high_nm: NDArray[np.float64]
    ) -> tuple[slice, slice, slice] | None:
        """Return the smallest rectangle of tiles that may hold positions between two corners."""
        hit = (self.low <= high_nm[:, None, None]) & (self.high >= low_nm[:, None, None])
        y, x = np.nonzero(hit.all(0))
        if len(y) == 0:
            return None
        return (
            slice(0, self.slices),
            slice(int(y.min()) * INDEX_PX, (int(y.max()) + 1) * INDEX_PX),
            slice(int(x.min()) * INDEX_PX, (int(x.max()) + 1) * INDEX_PX),
        )
