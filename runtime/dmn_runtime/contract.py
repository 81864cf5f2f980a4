"""The package's contract, `dmn.json`, as frozen values (docs/package.md is the page of law).

The exporter fills these and writes them; `dmn_runtime.package` reads, checks and returns them.
"""

from dataclasses import dataclass, field
from typing import Any

from dmn_runtime.geometry import Spacing

FORMAT = "dmn-package"
FORMAT_VERSION = 1
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
    """Parity of an exported network with the torch network it came from, on real tiles.

    `max_dp`, `mean_dp`: absolute difference of probabilities; `iou_change`: 1 - IoU of the two masks at the
    threshold; `tiles`: how many tiles were compared; `passed`: within the tolerances in force.
    """

    max_dp: float
    mean_dp: float
    iou_change: float
    tiles: int
    tolerance_max_dp: float
    tolerance_iou_change: float
    passed: bool
    engine: str


@dataclass(frozen=True)
class Precision:
    """One arithmetic of the network: the member that holds it and its certificate."""

    member: str
    certificate: Certificate


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
        precisions: name ("fp32", ...) to member and certificate.
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
    provenance: dict[str, Any] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
