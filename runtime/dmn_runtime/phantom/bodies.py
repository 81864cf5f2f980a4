"""Organelles as tubes around a curve: mitochondria, and the bodies that are mistaken for them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.cells import Cells, Tissue
from dmn_runtime.phantom.fields import Field

Points = NDArray[np.float64]
LEAST_ROOM_NM = 165.0
ROUNDING_NM = 60.0
CLEARANCE_NM = 25.0
THICKEST_NM = 290.0
BRANCHED_SHARE = 0.12
REACH_NM = 900.0
"""Neurites this far outside the volume can still reach into it."""


class Kind(IntEnum):
    """What a body is; only mitochondria are foreground."""

    MITOCHONDRION = 1
    LYSOSOME = 2
    VACUOLE = 3
    DENSE_CORE = 4
    MULTIVESICULAR = 5


@dataclass(frozen=True)
class Body:
    """A tube of varying radius around a polyline.

    Attributes:
        kind: what it is.
        cell: the cell that it lies in and is cut off by.
        edges_nm: (edges, 2, 3) zyx, the straight pieces of its middle line, which may branch.
        radius_nm: (edges, 2) radius at both ends of each piece.
        crista_normal: unit vector across its cristae (mitochondria).
        crista_period_nm: distance of its cristae.
        tone: -1 to 1, how much darker or lighter than others of its kind.
        cristae: 0 to 1, how plain its cristae are.
    """

    kind: Kind
    cell: int
    edges_nm: NDArray[np.float64]
    radius_nm: NDArray[np.float64]
    crista_normal: NDArray[np.float64]
    crista_period_nm: float
    tone: float
    cristae: float

    def box(self, slack_nm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the low and high corner, zyx nm, of a box around the body."""
        reach = self.radius_nm[..., None] + slack_nm
        return (self.edges_nm - reach).min((0, 1)), (self.edges_nm + reach).max((0, 1))


def polyline(curve_nm: NDArray[np.float64], radius_nm: NDArray[np.float64]) -> tuple[Points, Points]:
    """Cut a curve (points, 3) with radii (points,) into edges (points - 1, 2, 3) and (points - 1, 2)."""
    return np.stack([curve_nm[:-1], curve_nm[1:]], 1), np.stack([radius_nm[:-1], radius_nm[1:]], 1)


def signed_distance(body: Body, points_nm: Field) -> tuple[Field, Field]:
    """Return the distance to the body's surface in nm, negative inside, and |z component| of its normal.

    Args:
        body: the tube.
        points_nm: float32 (3, ...) positions zyx.
    """
    best = np.full(points_nm.shape[1:], np.inf, np.float32)
    steepness = np.zeros_like(best)
    ends, radii = body.edges_nm.astype(np.float32), body.radius_nm.astype(np.float32)
    for (a, b), (at_a, at_b) in zip(ends, radii, strict=True):
        edge = b - a
        offset = points_nm - a.reshape(3, *[1] * (points_nm.ndim - 1))
        t = np.clip(np.tensordot(edge, offset, 1) / np.float32(edge @ edge), 0, 1)
        across = [offset[i] - edge[i] * t for i in range(3)]
        length = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2 + np.float32(1e-6))
        distance = length - (at_a + (at_b - at_a) * t)
        closer = distance < best
        np.copyto(best, distance, where=closer)
        np.copyto(steepness, np.abs(across[0]) / length, where=closer)
    return best, steepness


def inside_cell(body: Body, distance_nm: Field, cells: Cells, margin_nm: float) -> Field:
    """Cut a body off where its cell ends, corners rounded: at least what lacks to `margin_nm` of depth."""
    lack = np.float32(margin_nm) - cells.depth_nm
    blend = np.maximum(ROUNDING_NM - np.abs(distance_nm - lack), 0)
    cut = np.maximum(distance_nm, lack) + blend**2 / np.float32(4 * ROUNDING_NM)
    return np.where(cells.cell == body.cell, cut, np.inf).astype(np.float32)


def place_mitochondria(
    tissue: Tissue,
    margin_nm: NDArray[np.float64],
    probe_nm: Field,
    probe_cells: Cells,
    share: float,
    generator: np.random.Generator,
) -> list[Body]:
    """Lay mitochondria along neurites until they fill `share` of the volume.

    Args:
        tissue: the cells.
        margin_nm: (cells,) how far organelles keep from each cell's membrane.
        probe_nm: (3, z, y, x) positions spread over the volume, at which the share is measured.
        probe_cells: the cells at those positions.
        share: wanted foreground share, 0 to 1.
        generator: the random stream.
    """
    filled = np.zeros(probe_nm.shape[1:], bool)
    low, high = probe_nm.min((1, 2, 3)), probe_nm.max((1, 2, 3))
    near = np.flatnonzero(
        ((tissue.centre > low - REACH_NM) & (tissue.centre < high + REACH_NM)).all(1)
        & (tissue.radius - margin_nm[tissue.cell] > LEAST_ROOM_NM)
    )
    bodies: list[Body] = []
    taken: set[int] = set()
    for seed in generator.permutation(near):
        if filled.mean() >= share:
            break
        if int(seed) in taken:
            continue
        room = float(tissue.radius[seed] - margin_nm[tissue.cell[seed]])
        body, used = _mitochondrion(tissue, int(seed), room, generator)
        distance, _ = signed_distance(body, probe_nm)
        covered = inside_cell(body, distance, probe_cells, margin_nm[body.cell]) < 0
        if covered.any():
            taken |= used
            bodies.append(body)
            filled |= covered
    return bodies


def _mitochondrion(
    tissue: Tissue, seed: int, room: float, generator: np.random.Generator
) -> tuple[Body, set[int]]:
    """Follow the neurite from `seed` for a random length, off its middle, with wavering thickness."""
    chain = tissue.stretch(seed)
    nodes = list(
        range(seed, min(chain.stop, seed + int(generator.choice([1, 2, 3, 5], p=[0.4, 0.3, 0.2, 0.1]))))
    )
    thickest = min(0.85 * room, THICKEST_NM)
    radius = float(generator.uniform(max(0.6 * thickest, 125.0), thickest))
    aside = _direction(generator) * float(generator.uniform(0, max(room - radius, 0.0)))
    curve = tissue.centre[nodes] + aside
    if len(nodes) == 1:
        along = _direction(generator) * 0.5 + tissue.axis[seed]
        along *= radius * float(generator.uniform(0.2, 1.3)) / np.linalg.norm(along)
        bend = generator.standard_normal(3) * 0.2 * radius
        curve = np.array([curve[0] - along, curve[0] + bend, curve[0] + along])
    trunk = _rounded(curve)
    wave = np.cumsum(generator.standard_normal(len(trunk))) * 0.08
    edges, radii = polyline(trunk, radius * np.clip(1 + wave - wave.mean(), 0.75, 1.2))
    if generator.random() < BRANCHED_SHARE:
        fork = trunk[len(trunk) // 2]
        tips = np.array([fork, fork + _direction(generator) * radius * float(generator.uniform(1.5, 4.0))])
        branch = polyline(tips, radius * np.array([0.85, 0.7]))
        edges, radii = np.concatenate([edges, branch[0]]), np.concatenate([radii, branch[1]])
    normal = trunk[-1] - trunk[0]
    normal = normal / np.linalg.norm(normal) if generator.random() < 0.5 else _direction(generator)
    normal = normal + 0.3 * _direction(generator)
    body = Body(
        Kind.MITOCHONDRION,
        int(tissue.cell[seed]),
        edges,
        radii,
        normal / np.linalg.norm(normal),
        float(generator.uniform(45.0, 80.0)),
        float(generator.uniform(-1, 1)),
        float(generator.random()),
    )
    return body, {n + d for n in nodes for d in (-1, 0, 1)}


def _direction(generator: np.random.Generator) -> Points:
    vector = generator.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _rounded(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the corners of a polyline once (Chaikin), ends kept."""
    quarter = 0.75 * curve[:-1] + 0.25 * curve[1:]
    other = 0.25 * curve[:-1] + 0.75 * curve[1:]
    middle = np.stack([quarter, other], axis=1).reshape(-1, 3)
    return np.concatenate([curve[:1], middle[1:-1] if len(curve) > 2 else middle, curve[-1:]])


# Kind, bodies per cubic micrometre, smallest and largest radius in nm.
_DISTRACTORS = (
    (Kind.LYSOSOME, 0.2, 70.0, 170.0),
    (Kind.VACUOLE, 0.9, 45.0, 160.0),
    (Kind.DENSE_CORE, 2.5, 28.0, 50.0),
    (Kind.MULTIVESICULAR, 0.2, 110.0, 200.0),
)


def place_distractors(
    tissue: Tissue,
    margin_nm: NDArray[np.float64],
    extent_nm: Spacing,
    mitochondria: list[Body],
    generator: np.random.Generator,
) -> list[Body]:
    """Scatter bodies that are not mitochondria, clear of those that are."""
    low, high = -200.0 * np.ones(3), np.array(extent_nm) + 200.0
    volume_um3 = float(np.prod(np.array(extent_nm) + 400.0)) / 1e9
    inside = np.flatnonzero(((tissue.centre > low) & (tissue.centre < high)).all(1))
    bodies, taken = [], _Taken(mitochondria)
    for kind, density, smallest, largest in _DISTRACTORS:
        wanted = int(generator.poisson(density * volume_um3 * float(generator.uniform(0.4, 1.6))))
        rooms = tissue.radius[inside] - margin_nm[tissue.cell[inside]]
        fitting = inside[rooms > 1.15 * smallest]
        if len(fitting) == 0:
            continue
        for seed in generator.choice(fitting, wanted):
            body = _blob(tissue, int(seed), kind, (smallest, largest), margin_nm, generator)
            if not taken.touches(body):
                taken.add(body)
                bodies.append(body)
    return bodies


def _blob(
    tissue: Tissue,
    seed: int,
    kind: Kind,
    sizes: tuple[float, float],
    margin_nm: NDArray[np.float64],
    generator: np.random.Generator,
) -> Body:
    cell = int(tissue.cell[seed])
    room = float(tissue.radius[seed] - margin_nm[cell])
    radius = float(generator.uniform(sizes[0], min(sizes[1], max(sizes[0], 0.8 * room))))
    centre = tissue.centre[seed] + _direction(generator) * float(
        generator.uniform(0, max(0.8 * room - radius, 0))
    )
    stretch = generator.standard_normal(3) * radius * 0.3
    edges, radii = polyline(
        np.stack([centre - stretch, centre + stretch]),
        radius * np.array([1.0, float(generator.uniform(0.8, 1.0))]),
    )
    tone = float(generator.uniform(-1, 1))
    return Body(kind, cell, edges, radii, np.array([0.0, 0.0, 1.0]), 60.0, tone, 0.0)


@final
class _Taken:
    """Bodies that stand already, with their boxes, so that a new one is compared with its neighbours only."""

    def __init__(self, bodies: list[Body]) -> None:
        self.bodies: list[Body] = []
        self.low, self.high = np.empty((0, 3)), np.empty((0, 3))
        for body in bodies:
            self.add(body)

    def add(self, body: Body) -> None:
        """Remember one more."""
        low, high = body.box(0.0)
        self.bodies.append(body)
        self.low, self.high = np.vstack([self.low, low]), np.vstack([self.high, high])

    def touches(self, body: Body) -> bool:
        """Tell whether `body` comes closer than `CLEARANCE_NM` to one of them."""
        low, high = body.box(CLEARANCE_NM)
        near = np.flatnonzero(((self.low <= high) & (self.high >= low)).all(1))
        ends = body.edges_nm.reshape(-1, 3).T.astype(np.float32)
        reach = body.radius_nm.ravel() + CLEARANCE_NM
        return any(bool((signed_distance(self.bodies[i], ends)[0] < reach).any()) for i in near)
