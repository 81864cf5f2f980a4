"""The package's contract, `dmn.json`, as frozen values (docs/package.md is the page of law).

The exporter fills these and writes them; `dmn_runtime.package` reads, checks and returns them.
"""

from dataclasses import dataclass, field
from typing import Any

from dmn_runtime.geometry import Spacing

FORMAT = "dmn-package"
FORMAT_VERSION = 2
CONTRACT_MEMBER = "dmn.json"


@dataclass(frozen=True)
class Normalisation:
    """How grey values become network input, once per volume.

    y = clip(2 * (x - lo) / (hi - lo) - 1, -clip, clip), where lo and hi are the `low_percent` and
    `high_percent` percentiles of a deterministic sample of the volume on its own grid
    (`dmn_runtime.normalise`).
    """

    low_percent: float = 1.0
    high_percent: float = 99.0
    clip: float = 2.0


@dataclass(frozen=True)
class Certificate:
    """Parity of one precision, run by one engine, with the trained network, on real tiles.

    Attributes:
        engine: word of the engine ("cpu", "openvino", ...).
        library: its library and version.
        device: what it ran on.
        tiles: how many tiles were compared.
        threshold: probability from which a voxel is foreground in this arithmetic.
        max_dp: largest absolute difference of probabilities.
        mean_dp: mean absolute difference.
        iou_change: 1 - IoU of the two masks, all tiles together, as 8-bit probabilities give them.
        objects: connected objects in the trained network's masks, None where they were not counted.
        objects_matched: how many of them the other masks have too (IoU > 0.5).
        tolerance_max_dp, tolerance_iou_change: what was allowed.
        voxels_per_s: of the network alone, one worker, None where it was not measured.
        speedup: over fp32 by the same engine in the same measurement, None where it was not measured.
        passed: within the tolerances.
    """

    engine: str
    library: str
    device: str
    tiles: int
    threshold: float
    max_dp: float
    mean_dp: float
    iou_change: float
    objects: int | None
    objects_matched: int | None
    tolerance_max_dp: float
    tolerance_iou_change: float
    voxels_per_s: float | None
    speedup: float | None
    passed: bool


@dataclass(frozen=True)
class Precision:
    """One arithmetic of the network: the member that holds it, and certificates, one an engine."""

    member: str
    certificates: tuple[Certificate, ...]


Shape4 = tuple[int, int, int, int]


@dataclass(frozen=True)
class PackagedPlan:
    """A TensorRT plan that travels in the package, signed off by the hash of its member.

    Attributes:
        member: the plan, a `.plan` file.
        precision: of the network that it was built from.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: plans run on no other.
        targets: compute capabilities, as "SM86".
        platform: "linux_x86_64" or "windows_x86_64".
        least, best, most: input shapes, nchw, that it accepts.
    """

    member: str
    precision: str
    library: str
    library_version: str
    targets: tuple[str, ...]
    platform: str
    least: Shape4
    best: Shape4
    most: Shape4


@dataclass(frozen=True)
class Domain:
    """Statistics of the training domain, for the drift alarm.

    `quantiles`: normalised intensity (before clipping) at `QUANTILE_PERCENTS`, over the source and, if there
    was one, the target; `foreground_share`: of the source labels, 0 to 1.
    """

    quantiles: tuple[float, ...]
    foreground_share: float


QUANTILE_PERCENTS = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)


@dataclass(frozen=True)
class Contract:
    """Everything that the runtime needs to know of a package.

    Attributes:
        name: one word or phrase for people.
        description: one sentence.
        classes: names of the foreground classes; one sigmoid output channel each (format 1: exactly one).
        in_channels: 2 * context_slices + 1.
        context_slices: neighbouring slices read on both sides of a slice.
        stride_px: the network is shift-equivariant by this many pixels only; tile origins are multiples.
        halo_px: pixels around a tile's core that the core's result depends on, a multiple of stride_px.
        voxel_nm: voxel size of the training domain, zyx.
        working_voxel_nm: in-plane (y and x) voxel size that the network works at; None = the volume's own.
        normalisation: see `Normalisation`.
        threshold: probability from which a voxel is foreground.
        precisions: name ("fp32", ...) to member and certificates.
        plans: TensorRT plans in the package.
        multiply_adds_per_px: of the convolutions, for each pixel of the input; None where it was not counted.
        values_per_px: numbers that the network's nodes write for each pixel; None where it was not counted.
        domain: statistics of the training domain.
        provenance: free JSON: method, data sets with hashes, recipe, seeds, library versions, licence notes.
        members: every other member of the archive to its sha256 (hex).
    """

    name: str
    description: str
    classes: tuple[str, ...]
    in_channels: int
    context_slices: int
    stride_px: int
    halo_px: int
    voxel_nm: Spacing
    working_voxel_nm: float | None
    normalisation: Normalisation
    threshold: float
    precisions: dict[str, Precision]
    domain: Domain
    plans: tuple[PackagedPlan, ...] = ()
    multiply_adds_per_px: float | None = None
    values_per_px: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
