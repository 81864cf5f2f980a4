"""From geometry to electron density: everything is drawn as a section of finite thickness shows it."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.bodies import Body, Kind, inside_cell, signed_distance
from dmn_runtime.phantom.cells import Cells
from dmn_runtime.phantom.fields import Field, smoothstep

RIM_REACH_NM = 25.0
"""A body's limiting membrane darkens nothing farther outside than this."""


@dataclass(frozen=True)
class Stain:
    """How the cells of one volume take up stain.

    Attributes:
        cytoplasm: (cells,) float32 density.
        margin_nm: (cells,) float64, how far organelles keep from the membrane.
        myelin_nm: (cells,) float32 thickness of the dark sheath inside the membrane, 0 for none.
        vesicles: (cells,) bool, synaptic vesicles cluster here.
        reticulum: (cells,) float32, 0 to 1, how much reticulum and microtubules.
        chromatin: (cells,) float32 density of chromatin, 0 where the cell is no nucleus.
        synapse: (cells,) float32, 1 where membranes may carry a postsynaptic density.
        membrane: density of membranes.
        matrix: density of the mitochondrial matrix.
        cristae: how plain cristae are, 0 to 1.
    """

    cytoplasm: Field
    margin_nm: NDArray[np.float64]
    myelin_nm: Field
    vesicles: NDArray[np.bool_]
    reticulum: Field
    chromatin: Field
    synapse: Field
    membrane: float
    matrix: float
    cristae: float


def choose_stain(
    thickness_nm: NDArray[np.float64],
    matrix: float,
    cristae: float,
    generator: np.random.Generator,
) -> Stain:
    """Draw the stain of every cell; `thickness_nm` (cells,) is the mean radius of each."""
    cells = len(thickness_nm)
    cytoplasm = np.clip(generator.normal(0.16, 0.05, cells), 0.05, 0.3)
    dark = generator.random(cells) < generator.uniform(0.02, 0.1)
    cytoplasm[dark] += generator.uniform(0.1, 0.35, int(dark.sum()))
    nucleus = (thickness_nm > 600) & (generator.random(cells) < 0.5)
    sheathed = (thickness_nm > 260) & ~nucleus & (generator.random(cells) < generator.uniform(0, 0.08))
    myelin = np.where(sheathed, thickness_nm * generator.uniform(0.12, 0.28, cells), 0.0)
    bouton = (thickness_nm > 130) & (thickness_nm < 450) & ~sheathed & (generator.random(cells) < 0.4)
    return Stain(
        cytoplasm.astype(np.float32),
        np.where(nucleus, 1e6, 22.0 + myelin),
        myelin.astype(np.float32),
        bouton,
        np.where(nucleus, 0.0, generator.uniform(0.2, 1.0, cells)).astype(np.float32),
        np.where(nucleus, generator.uniform(0.1, 0.35, cells), 0.0).astype(np.float32),
        (generator.random(cells) < 0.4).astype(np.float32),
        float(generator.uniform(0.75, 1.0)),
        matrix,
        cristae,
    )


def line_profile(distance_nm: Field, width_nm: float, steepness: Field, section_nm: float) -> Field:
    """Return how dark a membrane at `distance_nm` looks in a section of finite thickness.

    A sheet of Gaussian profile (standard deviation `width_nm`) seen through a slab of thickness `section_nm`
    is smeared along the plane by the slab times the sheet's slant; its mass is kept, so grazing membranes
    are broad and pale, as in real sections.
    """
    slant = steepness / np.sqrt(np.maximum(1 - steepness**2, 0.05))
    spread = np.sqrt(width_nm**2 + (section_nm * slant) ** 2 / 12)
    # Distances are measured along the normal; in the plane they are longer by the same slant.
    in_plane = distance_nm / np.sqrt(np.maximum(1 - steepness**2, 0.05))
    return np.asarray(
        np.exp(-0.5 * (in_plane / spread) ** 2) * np.maximum(width_nm / spread, 0.35), np.float32
    )


def draw_cells(cells: Cells, stain: Stain, fields: dict[str, Field], section_nm: float) -> Field:
    """Return the density of cytoplasm, membranes, sheaths, synapses and reticulum, float32 zyx."""
    own, depth = cells.cell, cells.depth_nm
    patches, mottle = fields["patches"], fields["mottle"]
    density = stain.cytoplasm[own] * (1 + 0.12 * patches) + 0.04 * mottle
    density += stain.chromatin[own] * smoothstep(0.2, 1.4, patches + 0.5 * mottle)
    gate = stain.reticulum[own] * (depth > 25)
    tube = np.hypot(fields["tube0"], fields["tube1"]) * 85.0
    reticulum = np.exp(-0.5 * ((tube - 24) / 8) ** 2) - 0.45 * np.exp(-0.5 * (tube / 11) ** 2)
    density += 0.45 * reticulum * smoothstep(-0.6, 0.6, patches) * gate
    rods = np.hypot(fields["rod0"], fields["rod1"]) * 45.0
    density += 0.3 * np.exp(-0.5 * (rods / 9) ** 2) * gate
    membrane = line_profile(depth, 7.0, cells.steepness, section_nm)
    density += np.maximum(stain.membrane - density, 0) * np.minimum(membrane, 1)
    synapse = stain.synapse[own] * smoothstep(1.5, 1.9, fields["contact"]) * smoothstep(48, 20, depth)
    density += np.maximum(0.85 - density, 0) * synapse
    sheath = stain.myelin_nm[own]
    wrapped = smoothstep(8, -8, depth - sheath) * (sheath > 0)
    stripes = 0.86 + 0.1 * np.cos(depth * np.float32(2 * np.pi / 17)) + 0.05 * mottle
    density += (stripes - density) * wrapped
    return np.asarray(density, np.float32)


def draw_body(
    body: Body,
    points_nm: Field,
    cells: Cells,
    stain: Stain,
    lamellae: Field,
    section_nm: float,
    density: Field,
    mask: NDArray[np.uint8],
) -> None:
    """Draw one body into `density`, and into `mask` if it is a mitochondrion; all on the same box, zyx."""
    distance, steepness = signed_distance(body, points_nm)
    free = distance
    distance = inside_cell(body, free, cells, float(stain.margin_nm[body.cell]))
    steepness = np.where(distance > free, cells.steepness, steepness)
    drawn = distance < RIM_REACH_NM
    if not drawn.any():
        return
    if body.kind is Kind.MITOCHONDRION:
        inner = _matrix(body, points_nm, stain, lamellae, distance, section_nm)
        mask[distance < 0] = 1
        rim, rim_width = 0.88 * stain.membrane, 7.0
    elif body.kind is Kind.LYSOSOME:
        inner = 0.95 + 0.08 * body.tone - 0.4 * smoothstep(0.7, 1.3, lamellae)
        rim, rim_width = 0.9, 6.0
    elif body.kind is Kind.VACUOLE:
        inner = 0.06 + 0.05 * body.tone + 0.02 * lamellae
        rim, rim_width = 0.7, 6.0
    elif body.kind is Kind.DENSE_CORE:
        inner = 0.75 + 0.15 * body.tone - 0.5 * smoothstep(-14, -6, distance)
        rim, rim_width = 0.7, 5.0
    else:
        inner = 0.2 + 0.35 * smoothstep(0.6, 1.2, np.abs(lamellae))
        rim, rim_width = 0.75, 6.0
    cover = smoothstep(5.0, -5.0, distance)
    density += (inner - density) * cover
    # The limiting membrane lies wholly inside the body, so that the truth includes it.
    edge = line_profile(distance + np.float32(rim_width), rim_width, steepness, section_nm)
    density += np.maximum(rim - density, 0) * edge * drawn


def _matrix(
    body: Body, points_nm: Field, stain: Stain, lamellae: Field, distance: Field, section_nm: float
) -> Field:
    """Matrix and cristae: pairs of dark sheets across the body, wavy, here and there missing."""
    along = np.tensordot(body.crista_normal.astype(np.float32), points_nm, 1) + 14.0 * lamellae
    period = body.crista_period_nm
    offset = np.asarray(np.abs((along / period) % 1 - 0.5) * period, np.float32)
    steep = np.full_like(offset, abs(float(body.crista_normal[0])))
    sheet = line_profile(offset, 9.0, steep, section_nm)
    lumen = line_profile(offset, 4.0, steep, section_nm)
    shown = stain.cristae * (0.45 + 0.55 * body.cristae) * smoothstep(-1.0, 0.6, lamellae + 0.8 * body.tone)
    shown = shown * smoothstep(-12, -24, distance)
    matrix = stain.matrix * (1 + 0.14 * body.tone) + 0.03 * lamellae
    return np.asarray(matrix + shown * (0.5 * sheet - 0.3 * lumen * body.cristae - 0.1), np.float32)


def draw_vesicles(
    points_nm: Field,
    crowd: Field,
    lattice_nm: float,
    extent_nm: Spacing,
    section_nm: float,
    generator: np.random.Generator,
    density: Field,
) -> None:
    """Draw synaptic vesicles (dark ring, light core, 34 to 46 nm across) into `density`.

    Vesicles are jittered points of a lattice of `lattice_nm`, each drawn with a chance of `crowd` (0 to 1,
    zyx); every voxel looks at the 27 lattice cells around it.
    """
    beyond = 1200.0
    counts = tuple(int(np.ceil((e + 2 * beyond) / lattice_nm)) for e in extent_nm)
    jitter = generator.uniform(0.12, 0.88, (*counts, 3)).astype(np.float32).reshape(-1, 3)
    rank = generator.random(counts, np.float32).ravel()
    radius = generator.uniform(17, 23, counts).astype(np.float32).ravel()
    where = crowd > 0
    wanted = crowd[where]
    at = (points_nm[:, where].T + np.float32(beyond)) / np.float32(lattice_nm)
    base = np.clip(np.floor(at).astype(np.int32), 1, np.array(counts, np.int32) - 2)
    local = at - base
    flat = (base[:, 0] * counts[1] + base[:, 1]) * counts[2] + base[:, 2]
    nearest = np.full(len(at), np.inf, np.float32)
    # A section shows vesicles that it cuts off centre as wide as those that it cuts through the middle.
    slack = np.float32(0.3 * section_nm)
    for step in product((-1, 0, 1), repeat=3):
        index = flat + (step[0] * counts[1] + step[1]) * counts[2] + step[2]
        offset = (local - np.array(step, np.float32) - jitter[index]) * np.float32(lattice_nm)
        offset[:, 0] = np.maximum(np.abs(offset[:, 0]) - slack, 0)
        shell = np.sqrt(np.einsum("ni,ni->n", offset, offset)) - radius[index]
        np.minimum(nearest, shell, out=nearest, where=rank[index] < wanted)
    values = density[where]
    values += (0.12 - values) * smoothstep(0, -14, nearest)
    values += (0.62 - values) * np.exp(-0.5 * (nearest / 6.5) ** 2)
    density[where] = values
