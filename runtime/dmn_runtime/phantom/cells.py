"""Neurites that fill space: chains of seeds whose nearest-seed cells, joined along each chain, are the cells.

A seed measures distance in its own metric, |p - c| / radius, shorter along the neurite's axis (an anisotropic,
multiplicatively weighted Voronoi diagram). A cell's membrane lies where the two nearest seeds of different
cells are equally far; the distance to it in nm follows to first order from the difference and its gradient.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.fields import Field

MARGIN_NM = 900.0
"""Tissue grows this far beyond the volume, so that its edge looks like its middle."""
PITCH_NM = 60.0
ELONGATION = 1.7
TILE_PX = 32
EXACT_NM = 220.0
"""Membrane distances are exact to first order below this; beyond it a lower bound is enough."""


@dataclass(frozen=True)
class Tissue:
    """The seeds of all cells.

    Attributes:
        centre: (seeds, 3) zyx in nm.
        axis: (seeds, 3) unit vectors along the neurite.
        radius: (seeds,) nm.
        cell: (seeds,) number of the cell that a seed belongs to; a cell's seeds are consecutive.
    """

    centre: NDArray[np.float64]
    axis: NDArray[np.float64]
    radius: NDArray[np.float64]
    cell: NDArray[np.int64]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.cell[-1]) + 1

    def chain(self, cell: int) -> slice:
        """Return where the seeds of `cell` lie."""
        return slice(
            int(np.searchsorted(self.cell, cell)), int(np.searchsorted(self.cell, cell, side="right"))
        )


@dataclass(frozen=True)
class Cells:
    """Cells on a grid, zyx.

    Attributes:
        cell: int32, number of the cell.
        depth_nm: float32, distance to the cell's membrane.
        steepness: float32, |z component| of the membrane's normal: 1 where the slice grazes the membrane.
    """

    cell: NDArray[np.int32]
    depth_nm: Field
    steepness: Field


class _Room:
    """Occupancy of the box that tissue grows in, on a lattice of `PITCH_NM`."""

    def __init__(self, extent_nm: Spacing) -> None:
        self.low = np.full(3, -MARGIN_NM)
        self.shape = tuple(int(np.ceil((e + 2 * MARGIN_NM) / PITCH_NM)) for e in extent_nm)
        self.taken = np.zeros(self.shape, bool)
        self.filled = 0

    def _box(self, centre: NDArray[np.float64], radius: float) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
        first = np.floor((centre - radius - self.low) / PITCH_NM).astype(int)
        last = np.ceil((centre + radius - self.low) / PITCH_NM).astype(int)
        first, last = np.clip(first, 0, self.shape), np.clip(last, 0, self.shape)
        axes = [
            ((np.arange(a, b) + 0.5) * PITCH_NM + low - c) ** 2
            for a, b, low, c in zip(first, last, self.low, centre, strict=True)
        ]
        inside = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] < radius**2
        return tuple(slice(a, b) for a, b in zip(first, last, strict=True)), inside

    def holds(self, centre: NDArray[np.float64]) -> bool:
        index = np.floor((centre - self.low) / PITCH_NM).astype(int)
        return bool((index >= 0).all() and (index < self.shape).all())

    def is_taken(self, place: NDArray[np.float64]) -> bool:
        z, y, x = np.floor((place - self.low) / PITCH_NM).astype(int)
        return bool(self.taken[z, y, x])

    def free_share(self, centre: NDArray[np.float64], radius: float) -> float:
        box, inside = self._box(centre, radius)
        return 1.0 - float(self.taken[box][inside].mean()) if inside.any() else 0.0

    def take(self, centre: NDArray[np.float64], radius: float) -> None:
        box, inside = self._box(centre, radius)
        self.filled += int((inside & ~self.taken[box]).sum())
        self.taken[box] |= inside

    @property
    def filled_share(self) -> float:
        return self.filled / self.taken.size

    def positions(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return the centres of all free lattice cells in random order, (n, 3) nm."""
        free = np.argwhere(~self.taken)
        generator.shuffle(free)
        return (free + generator.random(free.shape)) * PITCH_NM + self.low


# Smallest and largest radius in nm, share of the tissue's volume that is offered to the class, and steps.
_CLASSES = (
    (700.0, 1200.0, 0.04, 6),
    (350.0, 600.0, 0.22, 9),
    (180.0, 330.0, 0.6, 12),
    (80.0, 180.0, 1.0, 16),
)


def grow_tissue(extent_nm: Spacing, generator: np.random.Generator) -> Tissue:
    """Fill a box, and a margin around it, with neurites: the thick ones first, the thin between them."""
    room = _Room(extent_nm)
    seeds: list[tuple[NDArray[np.float64], NDArray[np.float64], float, int]] = []
    cell = 0
    for smallest, largest, fill, steps in _CLASSES:
        offered = min(1.0, fill * float(generator.uniform(0.8, 1.25)))
        for start in room.positions(generator):
            if room.filled_share > offered:
                break
            if room.is_taken(start):
                continue
            radius = float(generator.uniform(smallest, largest))
            if room.free_share(start, 0.75 * radius) < 0.97:
                continue
            seeds += _grow_neurite(room, generator, start, radius, steps, cell)
            cell += 1
    return Tissue(
        np.array([s[0] for s in seeds]),
        np.array([s[1] for s in seeds]),
        np.array([s[2] for s in seeds]),
        np.array([s[3] for s in seeds]),
    )


def _grow_neurite(
    room: _Room,
    generator: np.random.Generator,
    start: NDArray[np.float64],
    radius: float,
    steps: int,
    cell: int,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float, int]]:
    """Walk from `start` both ways, with persistence, until the room ends or is taken."""
    heading = _unit(generator.standard_normal(3))
    backward = _walk(room, generator, start, -heading, radius, steps // 2)
    forward = _walk(room, generator, start, heading, radius, steps // 2)
    nodes = [*[(c, -a, r) for c, a, r in reversed(backward)], (start, heading, radius), *forward]
    for centre, _, size in nodes:
        room.take(centre, 0.85 * size)
    return [(centre, axis, size, cell) for centre, axis, size in nodes]


def _walk(
    room: _Room,
    generator: np.random.Generator,
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    radius: float,
    steps: int,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    nodes = []
    place, size = start, radius
    for _ in range(steps):
        heading = _unit(heading + 0.35 * generator.standard_normal(3))
        size = float(np.clip(size * generator.uniform(0.82, 1.2), 0.6 * radius, 1.35 * radius))
        place = place + heading * size * 0.8
        if not room.holds(place) or room.free_share(place + 0.3 * size * heading, 0.55 * size) < 0.8:
            break
        nodes.append((place, heading, size))
    return nodes


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def tessellate(tissue: Tissue, points_nm: Field) -> Cells:
    """Find the cell, and the distance to its membrane, at every point.

    Args:
        tissue: the seeds.
        points_nm: positions, float32 (3, z, y, x) in nm.
    """
    shape = points_nm.shape[1:]
    cell = np.empty(shape, np.int32)
    depth = np.empty(shape, np.float32)
    steepness = np.empty(shape, np.float32)
    for y in range(0, shape[1], TILE_PX):
        for x in range(0, shape[2], TILE_PX):
            box = (slice(None), slice(y, y + TILE_PX), slice(x, x + TILE_PX))
            tile = points_nm[(slice(None), *box)]
            found = _tessellate_tile(tissue, tile.reshape(3, -1).T)
            cell[box], depth[box], steepness[box] = (part.reshape(tile.shape[1:]) for part in found)
    return Cells(cell, depth, steepness)


def _tessellate_tile(tissue: Tissue, points: Field) -> tuple[NDArray[np.int64], Field, Field]:
    middle = 0.5 * (points.min(0) + points.max(0)).astype(np.float64)
    seeds = _candidates(tissue, middle, float(np.linalg.norm(np.ptp(points, axis=0))) / 2)
    local = points - middle.astype(np.float32)
    squared = _squared_distances(tissue, seeds, middle, local)
    cells = tissue.cell[seeds]
    first = squared.argmin(0)
    own = cells[first]
    rows = np.arange(len(points))
    nearest = np.sqrt(squared[first, rows])
    squared[cells[:, None] == own[None, :]] = np.inf
    second = squared.argmin(0)
    other = np.sqrt(squared[second, rows])
    # |gradient| of a distance is at most 1 / radius, so this bound never exceeds the first-order distance.
    radius = tissue.radius[seeds].astype(np.float32)
    gap = other - nearest
    depth = gap / (1 / radius[first] + 1 / radius[second])
    steepness = np.zeros(len(points), np.float32)
    near = np.flatnonzero(depth < EXACT_NM)
    slope = _gradient(tissue, seeds[second[near]], middle, local[near], other[near]) - _gradient(
        tissue, seeds[first[near]], middle, local[near], nearest[near]
    )
    length = np.maximum(np.linalg.norm(slope, axis=1), 1e-6)
    depth[near] = gap[near] / length
    steepness[near] = np.abs(slope[:, 0]) / length
    return own, depth.astype(np.float32), steepness


def _candidates(tissue: Tissue, middle: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Return the seeds that can be among a tile's two nearest cells."""
    offset = middle - tissue.centre
    along = np.einsum("ni,ni->n", offset, tissue.axis)
    shrink = 1 - 1 / ELONGATION**2
    distance = np.sqrt((offset**2).sum(1) - shrink * along**2) / tissue.radius
    nearest = distance + reach / tissue.radius
    best = int(nearest.argmin())
    others = tissue.cell != tissue.cell[best]
    return np.flatnonzero(distance - reach / tissue.radius <= nearest[others].min())


def _squared_distances(
    tissue: Tissue, seeds: NDArray[np.int64], middle: NDArray[np.float64], local: Field
) -> Field:
    """Squared distances (seeds, points) as one matrix product over the ten monomials of a quadric."""
    axis, radius = tissue.axis[seeds], tissue.radius[seeds]
    metric = np.eye(3)[None] - (1 - 1 / ELONGATION**2) * axis[:, :, None] * axis[:, None, :]
    metric = metric / radius[:, None, None] ** 2
    centre = tissue.centre[seeds] - middle
    pulled = np.einsum("nij,nj->ni", metric, centre)
    quadric = np.stack(
        [
            metric[:, 0, 0], metric[:, 1, 1], metric[:, 2, 2],
            2 * metric[:, 0, 1], 2 * metric[:, 0, 2], 2 * metric[:, 1, 2],
            -2 * pulled[:, 0], -2 * pulled[:, 1], -2 * pulled[:, 2],
            np.einsum("ni,ni->n", centre, pulled),
        ],
        axis=1,
    )  # fmt: skip
    z, y, x = local.T
    monomials = np.stack([z * z, y * y, x * x, z * y, z * x, y * x, z, y, x, np.ones_like(x)])
    return np.maximum(quadric.astype(np.float32) @ monomials, 1e-8)


def _gradient(
    tissue: Tissue, seed: NDArray[np.int64], middle: NDArray[np.float64], local: Field, distance: Field
) -> Field:
    axis = tissue.axis[seed].astype(np.float32)
    offset = local - (tissue.centre[seed] - middle).astype(np.float32)
    along = np.einsum("ni,ni->n", offset, axis)[:, None] * axis * np.float32(1 - 1 / ELONGATION**2)
    scale = tissue.radius[seed].astype(np.float32) ** 2 * distance
    return np.asarray((offset - along) / scale[:, None], np.float32)
