"""What `dmn inspect` tells of a package or a volume: the facts, and the facts in plain words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import QUANTILE_PERCENTS, Certificate, Contract
from dmn_runtime.engines.catalogue import KINDS
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.layout import layout_words
from dmn_runtime.normalise import histogram, percentile
from dmn_runtime.package import Package
from dmn_runtime.volume.base import Volume
from dmn_runtime.words import counted, ordinal

WINDOW_PX = 256
FAST_WINDOW_MS = 50.0
MASK_VALUES = 8
"""A sample with at most so many different values is taken for a mask when it comes to the next command."""


@dataclass(frozen=True)
class VolumeFacts:
    """A volume: shape zyx, voxel size in nm zyx (None: unknown), grey values of the deterministic sample.

    `values`: how many different grey values the sample holds; `percentiles`: percent to grey value;
    `window_ms`: time to read 256 x 256 px from the middle of the middle slice.
    """

    path: str
    format: str
    shape: Triple
    dtype: str
    bytes: int
    voxel_nm: Spacing | None
    layout: str | None
    window_ms: float
    low: int
    high: int
    values: int
    percentiles: dict[str, float]


def volume_facts(volume: Volume) -> VolumeFacts:
    """Look at an opened volume; reads a sample of it, never the whole.

    Raises:
        VolumeError: the file is damaged.
    """
    window_ms = _time_window(volume)
    counts = histogram(volume)
    held: NDArray[np.intp] = np.flatnonzero(counts)
    return VolumeFacts(
        path=volume.path,
        format=volume.format,
        shape=volume.shape,
        dtype=str(volume.dtype),
        bytes=int(np.prod(volume.shape, dtype=np.int64)) * volume.dtype.itemsize,
        voxel_nm=volume.voxel_nm,
        layout=layout_words(volume),
        window_ms=window_ms,
        low=int(held[0]),
        high=int(held[-1]),
        values=len(held),
        percentiles={f"{percent:g}": percentile(counts, percent) for percent in QUANTILE_PERCENTS},
    )


def _time_window(volume: Volume) -> float:
    z, y, x = (extent // 2 for extent in volume.shape)
    edge_y, edge_x = min(WINDOW_PX, volume.shape[1]), min(WINDOW_PX, volume.shape[2])
    start = (z, y - edge_y // 2, x - edge_x // 2)
    begin = perf_counter()
    volume.read(Region(start, (z + 1, start[1] + edge_y, start[2] + edge_x)))
    return 1000.0 * (perf_counter() - begin)


def volume_text(facts: VolumeFacts) -> str:
    """Tell a volume's facts to people, with the command to try next."""
    size = _size_words(facts.bytes)
    voxel = "unknown; give it to dmn infer with --voxel-nm Z,Y,X"
    if facts.voxel_nm is not None:
        voxel = f"{_nm(facts.voxel_nm)} (z, y, x)"
    speed = "regions are read fast" if facts.window_ms <= FAST_WINDOW_MS else "regions are read slowly"
    ones = "one" if facts.values == 1 else "ones"
    percentiles = ", ".join(f"{percent} %: {grey:g}" for percent, grey in facts.percentiles.items())
    rows = [
        ("format", facts.format),
        ("shape", f"{' x '.join(map(str, facts.shape))} voxels (z, y, x), {facts.dtype}, {size}"),
        ("voxel size", voxel),
        ("layout", facts.layout or "as the format has it"),
        ("reading", f"{speed}: {WINDOW_PX} x {WINDOW_PX} px in {facts.window_ms:.1f} ms"),
        (
            "grey values",
            f"{facts.low} to {facts.high}, {facts.values} different {ones} in a sample of the volume",
        ),
        ("percentiles", percentiles),
        ("try next", next_command(facts)),
    ]
    return "\n".join([f"{facts.path} is a volume.", *_aligned(rows)])


def next_command(facts: VolumeFacts) -> str:
    """Return the command that makes sense with this volume."""
    if facts.values <= MASK_VALUES:
        like = f"it holds {counted(facts.values, 'value')}, like a mask"
        return f"dmn evaluate PREDICTION {quote(facts.path)}   ({like})"
    stem = Path(facts.path.partition("::")[0]).name.partition(".")[0] or "result"
    voxel = "" if facts.voxel_nm else " --voxel-nm Z,Y,X"
    return f"dmn infer demo {quote(facts.path)} -o {quote(stem)}.segmented.ome.zarr{voxel}"


def package_json(package: Package) -> dict[str, Any]:
    """Return a package's contract as plain JSON values, with its path and hash."""
    return {"path": str(package.path), "sha256": package.sha256, **asdict(package.contract)}


def package_text(package: Package, word: str) -> str:
    """Tell a package to people, with the command to try next.

    Args:
        package: opened, so that its hashes hold.
        word: what the user called it.
    """
    contract = package.contract
    rule = contract.normalisation
    grid = "the volume's own pixels"
    if contract.working_voxel_nm is not None:
        grid = f"{contract.working_voxel_nm:g} nm pixels (y, x); other volumes are resampled on the way"
    seen = (
        f"{contract.in_channels} slices, the middle one is segmented"
        if contract.context_slices
        else "1 slice"
    )
    rows = [
        ("trained", _training_words(contract)),
        ("voxel size", f"{_nm(contract.voxel_nm)} (z, y, x) in training"),
        ("works at", grid),
        ("network", f"sees {seen}; halo {contract.halo_px} px, stride {contract.stride_px} px"),
        ("threshold", f"foreground from probability {contract.threshold:g} on"),
        (
            "grey values",
            f"{ordinal(rule.low_percent)} to {ordinal(rule.high_percent)} percentile become -1 to 1, cut at "
            f"{rule.clip:g}, once for the whole volume",
        ),
        ("domain", f"{100 * contract.domain.foreground_share:.2g} % foreground in the training labels"),
        *_certificate_rows(contract),
        *_engine_rows(contract),
        *_plan_rows(contract),
        ("sha256", f"{package.sha256}; every member has its recorded hash"),
        ("try next", f"dmn infer {word} STACK.tif -o result.ome.zarr"),
    ]
    head = f"{word} is a package that segments {_plural(contract.classes)}: {contract.name}."
    return "\n".join([head, contract.description, *_aligned(rows)])


def _plural(classes: tuple[str, ...]) -> str:
    plural = {"mitochondrion": "mitochondria"}
    return ", ".join(plural.get(name, name) for name in classes)


def _certificate_rows(contract: Contract) -> list[tuple[str, str]]:
    return [
        (
            "certified",
            f"{name} as {one.library} computes it: max |dp| {one.max_dp:.1g}, IoU change "
            f"{one.iou_change:.1g} from the trained network, on {counted(one.tiles, 'tile')}"
            + _speed_words(one),
        )
        for name, precision in contract.precisions.items()
        for one in precision.certificates
    ]


def _engine_rows(contract: Contract) -> list[tuple[str, str]]:
    """Say what runs each precision: a certificate may be by a library that no engine runs it with."""
    return [
        ("run by", f"{name}: {', '.join(kind.word for kind in KINDS if name in kind.precisions)}")
        for name in contract.precisions
    ]


def _plan_rows(contract: Contract) -> list[tuple[str, str]]:
    return [
        (
            "engine",
            f"{plan.library} {plan.library_version}, {plan.precision}, for {', '.join(plan.targets)} on "
            f"{plan.platform}: machine code, trusted because the package is",
        )
        for plan in contract.plans
    ]


def _speed_words(certificate: Certificate) -> str:
    if certificate.voxels_per_s is None:
        return ""
    ratio = "" if certificate.speedup is None else f", {certificate.speedup:.1f} times fp32"
    return f"; {certificate.voxels_per_s / 1e6:.2f} Mvoxel/s{ratio} on {certificate.device}"


def _training_words(contract: Contract) -> str:
    run = contract.provenance.get("run")  # free JSON: anything may be missing
    facts: Mapping[str, Any] = run if isinstance(run, Mapping) else {}
    known = [f"{key} {facts[key]}" for key in ("method", "seed", "steps") if key in facts]
    return ", ".join(known) or "the package does not say how"


def _nm(voxel_nm: Spacing) -> str:
    return " x ".join(f"{edge:g}" for edge in voxel_nm) + " nm"


def _size_words(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    return [f"  {name:<13}{words}" for name, words in rows]
