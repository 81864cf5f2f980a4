"""report.json: what was done, with what, how fast; one beside each output (docs/report.md)."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dmn_runtime._version import __version__
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.machine import Machine
from dmn_runtime.seams import SeamScore
from dmn_runtime.whole_file import whole_file
from dmn_runtime.words import counted

FORMAT = "dmn-report"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class InputFacts:
    """The input: file name without its folders, shape zyx, voxel size in nm zyx (None: unknown)."""

    name: str
    format: str
    shape: Triple
    dtype: str
    voxel_nm: Spacing | None
    fingerprint: str


@dataclass(frozen=True)
class PackageFacts:
    """The package: its name, the sha256 of the zip, and `method` of its provenance (None: not stated)."""

    name: str
    sha256: str
    method: str | None


@dataclass(frozen=True)
class GridFacts:
    """The two grids, zyx: where the network ran and where the result was written; nm, None where unknown."""

    working_shape: Triple
    working_voxel_nm: Spacing | None
    output_shape: Triple
    output_voxel_nm: Spacing | None


@dataclass(frozen=True)
class NormalisationFacts:
    """The volume's map to network input: grey values `low` and `high`, `clip`, voxels in the sample."""

    low: float
    high: float
    clip: float
    sampled_voxels: int


@dataclass(frozen=True)
class PlanFacts:
    """The tile plan: `block` zyx on the output grid, `tile` zyx on the working grid, counts of both."""

    block: Triple
    tile: Triple
    halo_px: int
    stride_px: int
    blocks: int
    tiles: int


@dataclass(frozen=True)
class GpuFacts:
    """What went through a GPU at once (docs/gpu-engine.md), and its memory.

    `batch` tiles of `edge_px` (height and width, halo included) in one call of the network, `lanes` streams,
    `slab_slices` of a block in one piece at most. `planned_bytes`: what this was to take at most, without
    what a TensorRT engine held before. The free memory is that of the whole GPU, before and after that.
    """

    edge_px: int
    batch: int
    lanes: int
    slab_slices: int
    planned_bytes: int
    free_before_bytes: int
    free_after_bytes: int

    @property
    def share(self) -> tuple[int, int, int, int]:
        """Edge, batch, lanes and slices, without the memory."""
        return self.edge_px, self.batch, self.lanes, self.slab_slices

    def words(self) -> str:
        """Say it in one line."""
        before, after, planned = (
            f"{nbytes / 2**30:.2f}"
            for nbytes in (self.free_before_bytes, self.free_after_bytes, self.planned_bytes)
        )
        return (
            f"tiles of {self.edge_px} px, batches of {self.batch}, {counted(self.lanes, 'stream')}, slabs of "
            f"{counted(self.slab_slices, 'slice')}; {before} GiB free before and {after} after, "
            f"{planned} planned"
        )


@dataclass(frozen=True)
class Report:
    """One run of `dmn infer`.

    Attributes:
        input: see `InputFacts`.
        package: see `PackageFacts`.
        grids: see `GridFacts`.
        normalisation: see `NormalisationFacts`.
        plan: see `PlanFacts`.
        engine: the engine's description.
        engine_reason: why this one ran.
        precision: its arithmetic.
        workers: engine threads.
        threshold: probability from which a voxel is foreground.
        busy_s: stage to seconds of work in it, summed over threads; a stage that never ran is left out.
        queues: mean number of blocks that were read and wait for or are under work ("segment"), and that wait
            for or are under writing ("write"), from the first block read to the finished output.
        wall_s: from the start of this run to its finished output, without `choose_s`.
        choose_s: spent on choosing the engine, most of it the first time a package is used on a machine.
        first_tile_s: from the start to the first segmented tile; None if this run had none left to do.
        voxels: output voxels segmented by this run; less than the output where it was resumed.
        peak_rss_bytes: largest resident memory of the process; None where the system does not tell.
        machine: see `dmn_runtime.machine.Machine`.
        versions: library to version.
        started: UTC, ISO 8601.
        resumed: whether earlier runs had finished some of the blocks.
        foreground_share: of the written mask, 0 to 1.
        drift: sentences of the drift alarm, empty for a volume like those of the training.
        seams: see `SeamScore`; None where the seam check was not asked for.
        gpu: see `GpuFacts`; None where tiles were cut on the processor.
    """

    input: InputFacts
    package: PackageFacts
    grids: GridFacts
    normalisation: NormalisationFacts
    plan: PlanFacts
    engine: str
    engine_reason: str
    precision: str
    workers: int
    threshold: float
    busy_s: dict[str, float]
    queues: dict[str, float]
    wall_s: float
    choose_s: float
    first_tile_s: float | None
    voxels: int
    peak_rss_bytes: int | None
    machine: Machine
    versions: dict[str, str]
    started: str
    resumed: bool
    foreground_share: float
    drift: tuple[str, ...]
    seams: SeamScore | None = None
    gpu: GpuFacts | None = None

    @property
    def voxels_per_s(self) -> float:
        """Voxels of this run by its wall time, end to end."""
        return self.voxels / self.wall_s


def versions() -> dict[str, str]:
    """Return the versions of DMN, Python and the libraries that a result depends on."""
    libraries = {name: _installed(name) for name in ("numpy", "onnxruntime", "tifffile", "zarr")}
    return {"dmn": __version__, "python": platform.python_version(), **libraries}


def _installed(library: str) -> str:
    # ONNX Runtime comes under one of several distribution names, all with the same import name.
    for distribution in (library, f"{library}-gpu", f"{library}-openvino"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "not installed"


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values, with its format and its speed in voxels/s."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION}
    return {**head, **asdict(report), "voxels_per_s": report.voxels_per_s}


def write_report(path: Path, report: Report) -> None:
    """Write `report.json`, whole or not at all.

    Raises:
        OutputError: the disk is full or the path cannot be written; nothing is left behind.
    """
    text = json.dumps(report_json(report), indent=2, allow_nan=False) + "\n"
    with whole_file(path, "report") as partial:
        partial.write_text(text, encoding="utf-8")
