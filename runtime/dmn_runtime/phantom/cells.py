"""Neurites that fill space: chains of seeds whose nearest-seed cells, joined along a chain, are the cells.

A seed measures distance in its own metric, |p - c| / radius, shorter along the neurite's axis (an
anisotropic, multiplicatively weighted Voronoi diagram). A cell's membrane lies where the two nearest seeds
of different cells are equally far; the distance to it in nm follows to first order from the difference and
its gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.fields import Field

MARGIN_NM = 750.0
"""Tissue grows this far beyond the volume, so that its edge looks like its middle."""
PITCH_NM = 60.0
RIM_NM = 1700.0
ELONGATION = 1.7
JOINED_SHARE = 0.4
TILE_PX = 32
TILE_SLICES = 4
PRODUCT_SIZE = 200_000
EXACT_NM = 220.0
"""Membrane distances are exact to first order below this; beyond it a lower bound is enough."""


Seed = tuple[NDArray[np.float64], NDArray[np.float64], float, int]
"""Centre, axis, radius and chain of one seed."""


@dataclass(frozen=True)
class Tissue:
    """The seeds of all cells.

    Attributes:
        centre: (seeds, 3) zyx in nm.
        axis: (seeds, 3) unit vectors along the neurite.
        radius: (seeds,) nm.
        chain: (seeds,) number of the chain that a seed belongs to; a chain's seeds are consecutive.
        cell: (seeds,) number of the cell, which may be several chains that touch.
    """

    centre: NDArray[np.float64]
    axis: NDArray[np.float64]
    radius: NDArray[np.float64]
    chain: NDArray[np.int64]
    cell: NDArray[np.int64]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.cell.max()) + 1

    def stretch(self, seed: int) -> slice:
        """Return the seeds of the chain that `seed` lies in."""
        chain = int(self.chain[seed])
        first, last = np.searchsorted(self.chain, [chain, chain + 1])
        return slice(int(first), int(last))


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


@final
class _Room:
    """Occupancy of the box that tissue grows in: a flat lattice of `PITCH_NM` with a rim that is taken."""

    def __init__(self, extent_nm: Spacing) -> None:
        self.low = np.full(3, -MARGIN_NM)
        rim = int(np.ceil(RIM_NM / PITCH_NM))
        inner = [int(np.ceil((e + 2 * MARGIN_NM) / PITCH_NM)) for e in extent_nm]
        self.rim, self.inner = rim, np.array(inner)
        self.shape = tuple(n + 2 * rim for n in inner)
        free = np.zeros(self.shape, bool)
        free[rim:-rim, rim:-rim, rim:-rim] = True
        self.taken = ~free.ravel()
        self.open = self.size = int(free.sum())
        self.balls: dict[int, NDArray[np.int64]] = {}

    @property
    def filled(self) -> float:
        """Share of the box that is taken."""
        return 1.0 - self.open / self.size

    def _index(self, place: NDArray[np.float64]) -> int:
        """Return the flat index of a place; outside the box it is the nearest one of the rim's middle."""
        z, y, x = (
            min(max(int((p - low) // PITCH_NM), -1), n) + self.rim
            for p, low, n in zip(place, self.low, self.inner, strict=True)
        )
        return int((z * self.shape[1] + y) * self.shape[2] + x)

    def _ball(self, radius: float) -> NDArray[np.int64]:
        """Return the flat offsets of a ball; radii are rounded to half a lattice step."""
        key = max(1, round(2 * radius / PITCH_NM))
        if key not in self.balls:
            reach = np.arange(-(key // 2) - 1, key // 2 + 2)
            z, y, x = np.meshgrid(reach, reach, reach, indexing="ij")
            inside = z * z + y * y + x * x <= key * key / 4
            self.balls[key] = ((z * self.shape[1] + y) * self.shape[2] + x)[inside]
        return self.balls[key]

    def free_share(self, centre: NDArray[np.float64], radius: float) -> float:
        """Return the share of a ball that is free."""
        return 1.0 - float(np.count_nonzero(self.taken[self._index(centre) + self._ball(radius)])) / len(
            self._ball(radius)
        )

    def take(self, centre: NDArray[np.float64], radius: float) -> None:
        """Take a ball."""
        where = self._index(centre) + self._ball(radius)
        self.open -= len(where) - int(np.count_nonzero(self.taken[where]))
        self.taken[where] = True

    def places(
        self, generator: np.random.Generator, radius: float
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield flat index and middle (nm) of lattice cells around which a ball is free, in random order."""
        flat = np.flatnonzero(~self.taken)
        for offset in self._ball(radius):
            flat = flat[~self.taken[flat + offset]]
        generator.shuffle(flat)
        middles = (np.stack(np.unravel_index(flat, self.shape), 1) - self.rim + 0.5) * PITCH_NM + self.low
        yield from zip(flat.tolist(), middles, strict=True)


# Smallest and largest radius in nm, share of the tissue's volume that is offered to the class, and steps.
_CLASSES = (
    (700.0, 1200.0, 0.05, 4),
    (330.0, 560.0, 0.25, 9),
    (180.0, 330.0, 0.6, 12),
    (80.0, 180.0, 1.0, 16),
)
START_SHARE = 0.75
"""A neurite starts where a ball of this share of its radius is free."""
GIANTS_SHARE = 0.4
"""Share of volumes that hold cells of the first class."""
OFFER = (0.6, 1.3)
"""How far the shares vary from volume to volume."""


def grow_tissue(extent_nm: Spacing, generator: np.random.Generator) -> Tissue:
    """Fill a box, and a margin around it, with neurites: the thick ones first, the thin between them."""
    room = _Room(extent_nm)
    seeds: list[Seed] = []
    chain = 0
    giants = generator.random() < GIANTS_SHARE
    for smallest, largest, fill, steps in _CLASSES[0 if giants else 1 :]:
        offered = fill * float(generator.uniform(*OFFER))
        for index, start in room.places(generator, START_SHARE * smallest):
            if room.filled > offered:
                break
            if room.taken[index]:
                continue
            radius = float(generator.uniform(smallest, largest))
            if room.free_share(start, START_SHARE * radius) < 0.97:
                continue
            seeds += _grow_neurite(room, generator, start, radius, steps, chain)
            chain += 1
    centre, axis = np.array([s[0] for s in seeds]), np.array([s[1] for s in seeds])
    radii, owner = np.array([s[2] for s in seeds]), np.array([s[3] for s in seeds])
    return Tissue(centre, axis, radii, owner, _join(centre, radii, owner, generator))


def _join(
    centre: NDArray[np.float64],
    radius: NDArray[np.float64],
    chain: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Make one cell of some chains that touch, so that cells branch and are not all convex."""
    chains = int(chain[-1]) + 1
    cell = np.arange(chains)
    for number in np.flatnonzero(generator.random(chains) < JOINED_SHARE):
        first, last = np.searchsorted(chain, [number, number + 1])
        end = int(first if generator.random() < 0.5 else last - 1)
        gap = np.linalg.norm(centre - centre[end], axis=1) - radius - radius[end]
        gap[chain == number] = np.inf
        cell[cell == cell[number]] = cell[chain[int(gap.argmin())]]
    return np.unique(cell, return_inverse=True)[1][chain]


def _grow_neurite(
    room: _Room,
    generator: np.random.Generator,
    start: NDArray[np.float64],
    radius: float,
    steps: int,
    chain: int,
) -> list[Seed]:
    """Walk from `start` both ways, with persistence, until the room ends or is taken."""
    heading = _unit(generator.standard_normal(3))
    backward = _walk(room, generator, start, -heading, radius, steps // 2)
    forward = _walk(room, generator, start, heading, radius, steps // 2)
    nodes = [*[(c, -a, r) for c, a, r in reversed(backward)], (start, heading, radius), *forward]
    for centre, _, size in nodes:
        room.take(centre, 0.85 * size)
    return [(centre, axis, size, chain) for centre, axis, size in nodes]


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
        if room.free_share(place + 0.3 * size * heading, 0.55 * size) < 0.8:
            break
        nodes.append((place, heading, size))
    return nodes


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


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
    edges = (TILE_SLICES, TILE_PX, TILE_PX)
    for corner in product(*(range(0, n, edge) for n, edge in zip(shape, edges, strict=True))):
        box = tuple(slice(a, a + edge) for a, edge in zip(corner, edges, strict=True))
        tile = points_nm[(slice(None), *box)]
        found = _tessellate_tile(tissue, tile.reshape(3, -1).T)
        cell[box], depth[box], steepness[box] = (part.reshape(tile.shape[1:]) for part in found)
    return Cells(cell, depth, steepness)


def _tessellate_tile(tissue: Tissue, points: Field) -> tuple[NDArray[np.int64], Field, Field]:
    middle = 0.5 * (points.min(0) + points.max(0)).astype(np.float64)
    seeds = _candidates(tissue, middle, float(np.linalg.norm(np.ptp(points, axis=0))) / 2)
    local = points - middle.astype(np.float32)
    squared = _squared_distances(tissue, seeds, middle, local)
    cells, number = np.unique(tissue.cell[seeds], return_inverse=True)
    number = number.astype(np.int16)
    rows = np.arange(len(points))
    first = squared.argmin(1)
    nearest = np.sqrt(squared[rows, first])
    np.copyto(squared, np.float32(np.inf), where=number[None, :] == number[first][:, None])
    second = squared.argmin(1)
    other = np.sqrt(squared[rows, second])
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
    return cells[number[first]], depth.astype(np.float32), steepness


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
    """Squared distances (points, seeds) as one matrix product over the ten monomials of a quadric."""
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
    monomials = np.stack([z * z, y * y, x * x, z * y, z * x, y * x, z, y, x, np.ones_like(x)], axis=1)
    quadric32 = np.ascontiguousarray(quadric.T, np.float32)
    squared = np.empty((len(local), len(seeds)), np.float32)
    # Small products stay on this thread: the library's own threads wait for each other on a busy machine.
    step = max(1, PRODUCT_SIZE // quadric32.size)
    for row in range(0, len(local), step):
        np.matmul(monomials[row : row + step], quadric32, out=squared[row : row + step])
    np.maximum(squared, 1e-8, out=squared)
    return squared


def _gradient(
    tissue: Tissue, seed: NDArray[np.int64], middle: NDArray[np.float64], local: Field, distance: Field
) -> Field:
    axis = tissue.axis[seed].astype(np.float32)
    offset = local - (tissue.centre[seed] - middle).astype(np.float32)
    along = np.einsum("ni,ni->n", offset, axis)[:, None] * axis * np.float32(1 - 1 / ELONGATION**2)
    scale = tissue.radius[seed].astype(np.float32) ** 2 * distance
    return np.asarray((offset - along) / scale[:, None], np.float32)
