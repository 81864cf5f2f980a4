"""From geometry to electron density: membranes, cytoplasm, organelles, each drawn as a thick section shows it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Spacing
from dmn_runtime.phantom.bodies import Body, Kind, signed_distance
from dmn_runtime.phantom.cells import Cells
from dmn_runtime.phantom.fields import Field, Noise, smoothstep


@dataclass(frozen=True)
class Stain:
    """How the cells of one volume take up stain.

    Attributes:
        cytoplasm: (cells,) float32 density.
        margin_nm: (cells,) float64, how far organelles keep from the membrane.
        myelin_nm: (cells,) float32 thickness of the dark sheath inside the membrane, 0 for none.
        vesicles: (cells,) bool, synaptic vesicles cluster here.
        reticulum: (cells,) float32, 0 to 1, how much reticulum and microtubules.
        membrane: density of membranes.
        matrix: density of the mitochondrial matrix.
        cristae: how plain cristae are, 0 to 1.
    """

    cytoplasm: Field
    margin_nm: NDArray[np.float64]
    myelin_nm: Field
    vesicles: NDArray[np.bool_]
    reticulum: Field
    membrane: float
    matrix: float
    cristae: float


def choose_stain(
    cells: int,
    thickness_nm: NDArray[np.float64],
    matrix: float,
    cristae: float,
    generator: np.random.Generator,
) -> Stain:
    """Draw the stain of every cell; `thickness_nm` (cells,) is the mean radius of each."""
    cytoplasm = np.clip(generator.normal(0.16, 0.05, cells), 0.05, 0.3)
    dark = generator.random(cells) < generator.uniform(0.02, 0.1)
    cytoplasm[dark] += generator.uniform(0.1, 0.35, int(dark.sum()))
    sheathed = (thickness_nm > 300) & (generator.random(cells) < 0.07)
    myelin = np.where(sheathed, generator.uniform(50, 140, cells), 0.0)
    bouton = (thickness_nm > 130) & (thickness_nm < 650) & ~sheathed & (generator.random(cells) < 0.4)
    return Stain(
        cytoplasm.astype(np.float32),
        22.0 + myelin,
        myelin.astype(np.float32),
        bouton,
        np.where(thickness_nm > 200, generator.uniform(0.2, 1.0, cells), 0.3).astype(np.float32),
        float(generator.uniform(0.75, 1.0)),
        matrix,
        cristae,
    )


@dataclass(frozen=True)
class Textures:
    """The noise fields that density is modulated with; all have unit variance."""

    patches: Noise
    mottle: Noise
    tubes: tuple[Noise, Noise]
    rods: tuple[Noise, Noise]
    lamellae: Noise


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
    patches = fields["patches"]
    density = stain.cytoplasm[own] * (1 + 0.12 * patches) + 0.035 * fields["mottle"]
    gate = stain.reticulum[own]
    inside = depth > 25
    tube = np.hypot(fields["tube0"], fields["tube1"]) * 95.0
    reticulum = np.exp(-0.5 * ((tube - 22) / 8) ** 2) - 0.5 * np.exp(-0.5 * (tube / 11) ** 2)
    density += 0.4 * reticulum * smoothstep(0.1, 0.8, patches * gate) * inside
    rods = np.hypot(fields["rod0"], fields["rod1"]) * 45.0
    density += 0.3 * np.exp(-0.5 * (rods / 9) ** 2) * gate * inside
    synapse = smoothstep(1.35, 1.9, fields["mottle"] * 0.35 + fields["tube0"] * 0.5 + patches)
    width = 6.5 + 0.0 * synapse
    membrane = line_profile(depth, 7.0, cells.steepness, section_nm)
    density += (stain.membrane - density) * np.minimum(membrane, 1)
    postsynaptic = synapse * smoothstep(45, 15, depth)
    density += (0.85 - density) * np.clip(0.9 * postsynaptic, 0, 1) * (width > 0)
    sheath = stain.myelin_nm[own]
    wrapped = (depth < sheath) & (sheath > 0)
    stripes = 0.92 + 0.08 * np.cos(depth * (2 * np.pi / 17))
    np.copyto(density, stripes.astype(np.float32), where=wrapped)
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
    room = np.float32(stain.margin_nm[body.cell]) - cells.depth_nm
    pressed = room > distance
    distance = np.where(cells.cell == body.cell, np.maximum(distance, room), np.inf).astype(np.float32)
    steepness = np.where(pressed, cells.steepness, steepness)
    inside = distance < 0
    if not inside.any():
        return
    if body.kind is Kind.MITOCHONDRION:
        inner = _matrix(body, points_nm, stain, lamellae, distance, section_nm)
        mask[inside] = 1
        rim, rim_width = 0.88 * stain.membrane, 7.0
    elif body.kind is Kind.LYSOSOME:
        inner = 0.72 + 0.18 * body.tone + 0.07 * lamellae
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
    density += np.maximum(rim - density, 0) * edge * (distance < 25)


def _matrix(
    body: Body, points_nm: Field, stain: Stain, lamellae: Field, distance: Field, section_nm: float
) -> Field:
    """Matrix and cristae: pairs of dark sheets across the body, wavy, here and there missing."""
    along = np.tensordot(body.crista_normal.astype(np.float32), points_nm, 1) + 14.0 * lamellae
    period = body.crista_period_nm
    offset = np.abs((along / period) % 1 - 0.5) * period
    steep = np.full_like(offset, abs(float(body.crista_normal[0])))
    sheet = line_profile(offset.astype(np.float32), 9.0, steep, section_nm)
    lumen = line_profile(offset.astype(np.float32), 4.0, steep, section_nm)
    shown = stain.cristae * (0.35 + 0.65 * body.cristae) * smoothstep(-1.0, 0.6, lamellae + 0.8 * body.tone)
    shown = shown * smoothstep(-12, -24, distance)
    matrix = stain.matrix * (1 + 0.14 * body.tone) + 0.03 * lamellae
    return np.asarray(matrix + shown * (0.42 * sheet - 0.25 * lumen * body.cristae - 0.1), np.float32)


def draw_vesicles(
    points_nm: Field, where: NDArray[np.bool_], lattice_nm: float, generator: np.random.Generator,
    extent_nm: Spacing, section_nm: float, density: Field, free: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Draw synaptic vesicles (dark ring, light core, 40 to 50 nm) where `where` says, one a lattice cell.

    Vesicles are jittered points of a lattice of `lattice_nm`; each voxel looks at the 27 cells around it.
    """
    counts = tuple(int(np.ceil((e + 2400) / lattice_nm)) + 2 for e in extent_nm)
    jitter = generator.uniform(0.12, 0.88, (*counts, 3)).astype(np.float32)
    present = generator.random(counts) < 0.8
    radius = generator.uniform(17, 23, counts).astype(np.float32)
    at = points_nm[:, where].T + np.float32(1200.0)
    base = np.floor(at / lattice_nm).astype(np.int32)
    nearest = np.full(len(at), np.inf, np.float32)
    slack = np.float32(0.3 * section_nm)
    for step in np.ndindex(3, 3, 3):
        index = np.clip(base + np.array(step, np.int32) - 1, 0, np.array(counts, np.int32) - 1)
        z, y, x = index.T
        offset = at - (index + jitter[z, y, x]) * np.float32(lattice_nm)
        offset[:, 0] = np.maximum(np.abs(offset[:, 0]) - slack, 0)
        shell = np.sqrt((offset**2).sum(1)) - radius[z, y, x]
        nearest = np.minimum(nearest, np.where(present[z, y, x], shell, np.inf))
    ring = np.exp(-0.5 * (nearest / 6.5) ** 2)
    core = smoothstep(0, -14, nearest)
    values = density[where]
    values += (0.12 - values) * core * free[where] + (0.62 - values) * ring * free[where]
    density[where] = values
