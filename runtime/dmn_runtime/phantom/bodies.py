"""Organelles as tubes around a curve: mitochondria, and the dark and round bodies that are mistaken for them."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.cells import Tissue
from dmn_runtime.phantom.fields import Field


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
        curve_nm: (points, 3) zyx; one point makes a sphere.
        radius_nm: (points,) radius at each point.
        crista_normal: unit vector across its cristae (mitochondria).
        crista_period_nm: distance of its cristae.
        tone: -1 to 1, how much darker or lighter than others of its kind.
        cristae: 0 to 1, how plain its cristae are.
    """

    kind: Kind
    cell: int
    curve_nm: NDArray[np.float64]
    radius_nm: NDArray[np.float64]
    crista_normal: NDArray[np.float64]
    crista_period_nm: float
    tone: float
    cristae: float

    def box(self, slack_nm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the low and high corner, zyx nm, of a box around the body."""
        reach = self.radius_nm[:, None] + slack_nm
        return (self.curve_nm - reach).min(0), (self.curve_nm + reach).max(0)


def signed_distance(body: Body, points_nm: Field) -> tuple[Field, Field]:
    """Return the distance to the body's surface in nm, negative inside, and |z component| of its normal.

    Args:
        body: the tube.
        points_nm: float32 (3, ...) positions zyx.
    """
    curve, radius = body.curve_nm.astype(np.float32), body.radius_nm.astype(np.float32)
    if len(curve) == 1:
        return _to_sphere(curve[0], radius[0], points_nm)
    best = np.full(points_nm.shape[1:], np.inf, np.float32)
    steepness = np.zeros_like(best)
    for a, b, at_a, at_b in zip(curve[:-1], curve[1:], radius[:-1], radius[1:], strict=True):
        edge = b - a
        offset = points_nm - a.reshape(3, *[1] * (points_nm.ndim - 1))
        t = np.clip(np.tensordot(edge, offset, 1) / float(edge @ edge), 0, 1)
        length = np.sqrt(sum((offset[i] - edge[i] * t) ** 2 for i in range(3)) + np.float32(1e-6))
        distance = length - (at_a + (at_b - at_a) * t)
        closer = distance < best
        np.copyto(best, distance, where=closer)
        np.copyto(steepness, np.abs(offset[0] - edge[0] * t) / length, where=closer)
    return best, steepness


def _to_sphere(centre: Field, radius: np.float32, points_nm: Field) -> tuple[Field, Field]:
    offset = points_nm - centre.reshape(3, *[1] * (points_nm.ndim - 1))
    length = np.sqrt((offset**2).sum(0) + np.float32(1e-6))
    return length - radius, np.abs(offset[0]) / length


def place_mitochondria(
    tissue: Tissue,
    margin_nm: NDArray[np.float64],
    extent_nm: Spacing,
    share: float,
    generator: np.random.Generator,
) -> list[Body]:
    """Lay mitochondria along neurites until they fill `share` of the volume.

    Args:
        tissue: the cells.
        margin_nm: (cells,) how far organelles keep from each cell's membrane.
        extent_nm: the volume's size, zyx.
        share: wanted foreground share, 0 to 1.
        generator: the random stream.
    """
    probe = _probe(extent_nm)
    filled = np.zeros(probe.shape[1:], bool)
    bodies: list[Body] = []
    taken: set[int] = set()
    for seed in generator.permutation(len(tissue.cell)):
        if filled.mean() >= share:
            break
        room = tissue.radius[seed] - margin_nm[tissue.cell[seed]]
        if int(seed) in taken or room < 130.0:
            continue
        body, used = _mitochondrion(tissue, int(seed), room, generator)
        low, high = body.box(0.0)
        if (high < 0).any() or (low > np.array(extent_nm)).any():
            continue
        taken |= used
        bodies.append(body)
        filled |= signed_distance(body, probe)[0] < 0
    return bodies


def _probe(extent_nm: Spacing) -> Field:
    """Positions spread over the volume, about 60 nm apart, at which shares are estimated."""
    axes = [
        (np.arange(n) + 0.5) * e / n for e in extent_nm for n in [int(np.clip(np.ceil(e / 60.0), 1, 160))]
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _mitochondrion(
    tissue: Tissue, seed: int, room: float, generator: np.random.Generator
) -> tuple[Body, set[int]]:
    """Follow the neurite from `seed` for a random length, off its middle, with wavering thickness."""
    chain = tissue.chain(int(tissue.cell[seed]))
    nodes = list(range(seed, min(chain.stop, seed + int(generator.integers(1, 5)))))
    thickest = min(0.8 * room, 290.0)
    radius = float(generator.uniform(max(90.0, 0.55 * thickest), thickest))
    aside = generator.standard_normal(3)
    aside *= float(generator.uniform(0, 0.9 * max(room - radius - 25.0, 0.0))) / np.linalg.norm(aside)
    curve = tissue.centre[nodes] + aside
    if len(nodes) == 1:
        # A mitochondrion of its own in a short stretch: a bean of one to three radii along or across.
        along = tissue.axis[seed] + 0.5 * generator.standard_normal(3)
        along *= radius * float(generator.uniform(0.3, 1.2)) / np.linalg.norm(along)
        bend = generator.standard_normal(3) * 0.15 * radius
        curve = np.array([curve[0] - along, curve[0] + bend, curve[0] + along])
    curve = _rounded(curve)
    wave = np.cumsum(generator.standard_normal(len(curve))) * 0.06
    sizes = radius * np.clip(1 + wave - wave.mean(), 0.75, 1.25)
    normal = curve[-1] - curve[0] if generator.random() < 0.55 else generator.standard_normal(3)
    normal = normal + 0.3 * np.linalg.norm(normal) * generator.standard_normal(3) / 3
    body = Body(
        Kind.MITOCHONDRION,
        int(tissue.cell[seed]),
        curve,
        sizes,
        normal / np.linalg.norm(normal),
        float(generator.uniform(45.0, 85.0)),
        float(generator.uniform(-1, 1)),
        float(generator.random()),
    )
    return body, {n + d for n in nodes for d in (-1, 0, 1)}


def _rounded(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the corners of a polyline once (Chaikin), ends kept."""
    quarter = 0.75 * curve[:-1] + 0.25 * curve[1:]
    other = 0.25 * curve[:-1] + 0.75 * curve[1:]
    middle = np.stack([quarter, other], axis=1).reshape(-1, 3)
    return np.concatenate([curve[:1], middle[1:-1] if len(curve) > 2 else middle, curve[-1:]])


# Kind, bodies per cubic micrometre, smallest and largest radius in nm.
_DISTRACTORS = (
    (Kind.LYSOSOME, 0.25, 90.0, 230.0),
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
    bodies: list[Body] = []
    for kind, density, smallest, largest in _DISTRACTORS:
        wanted = int(generator.poisson(density * volume_um3 * float(generator.uniform(0.4, 1.6))))
        rooms = tissue.radius[inside] - margin_nm[tissue.cell[inside]]
        fitting = inside[rooms > 1.15 * smallest]
        if len(fitting) == 0:
            continue
        for seed in generator.choice(fitting, wanted):
            body = _blob(tissue, int(seed), kind, (smallest, largest), margin_nm, generator)
            if not any(_touch(body, other) for other in (*mitochondria, *bodies)):
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
    aside = generator.standard_normal(3)
    centre = tissue.centre[seed] + aside / np.linalg.norm(aside) * generator.uniform(
        0, max(0.8 * room - radius, 0)
    )
    stretch = generator.standard_normal(3) * radius * 0.3
    return Body(
        kind,
        cell,
        np.stack([centre - stretch, centre + stretch]),
        np.array([radius, radius * float(generator.uniform(0.8, 1.0))]),
        np.array([0.0, 0.0, 1.0]),
        60.0,
        float(generator.uniform(-1, 1)),
        0.0,
    )


def _touch(body: Body, other: Body) -> bool:
    low, high = body.box(15.0)
    other_low, other_high = other.box(15.0)
    if (low > other_high).any() or (high < other_low).any():
        return False
    distance = np.linalg.norm(body.curve_nm[:, None] - other.curve_nm[None], axis=2)
    return bool((distance < body.radius_nm[:, None] + other.radius_nm[None] + 25.0).any())
