"""The report of a finished run, from what was decided and what was counted."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dmn_runtime.errors import ResumeError
from dmn_runtime.machine import machine_facts, peak_rss_bytes
from dmn_runtime.report import (
    GpuFacts,
    GridFacts,
    InputFacts,
    NormalisationFacts,
    PackageFacts,
    PlanFacts,
    Report,
    versions,
)
from dmn_runtime.seams import SeamScore
from dmn_runtime.setup import Setup, grid_voxel_nm
from dmn_runtime.sink.paths import output_kind


def report_path(output: Path) -> Path:
    """Return where the report of `output` stands: seg.ome.zarr -> seg.report.json."""
    return output.with_name(f"{_stem(output)}.report.json")


def preview_path(output: Path) -> Path:
    """Return where the preview of `output` stands: seg.ome.zarr -> seg.preview.png."""
    return output.with_name(f"{_stem(output)}.preview.png")


def _stem(output: Path) -> str:
    suffix = next(s for s in output_kind(output).value if output.name.lower().endswith(s))
    return output.name[: -len(suffix)]


@dataclass(frozen=True)
class Tally:
    """What a run counted; see `Report` for each."""

    fingerprint: str
    engine: str
    busy_s: dict[str, float]
    queues: dict[str, float]
    wall_s: float
    choose_s: float
    first_tile_s: float | None
    voxels: int
    started: datetime
    resumed: bool
    foreground_share: float
    drift: tuple[str, ...]
    seams: SeamScore | None
    gpu: GpuFacts | None = None


def make_report(setup: Setup, tally: Tally) -> Report:
    """Put together the report of a run."""
    return Report(
        input=_input(setup, tally.fingerprint),
        package=_package(setup),
        grids=_grids(setup),
        normalisation=_normalisation(setup),
        plan=_plan(setup),
        engine=tally.engine,
        engine_reason=setup.choice.reason,
        precision=setup.choice.candidate.precision,
        workers=setup.workers,
        threshold=setup.threshold,
        busy_s=tally.busy_s,
        queues=tally.queues,
        wall_s=tally.wall_s,
        choose_s=tally.choose_s,
        first_tile_s=tally.first_tile_s,
        voxels=tally.voxels,
        peak_rss_bytes=peak_rss_bytes(),
        machine=machine_facts(),
        versions=versions(),
        started=tally.started.isoformat(timespec="seconds"),
        resumed=tally.resumed,
        foreground_share=tally.foreground_share,
        drift=tally.drift,
        seams=tally.seams,
        gpu=tally.gpu,
    )


def require_same_run(path: Path, setup: Setup, fingerprint: str) -> None:
    """Refuse to call an output complete that was made from another input, package or plan.

    Args:
        path: of the report beside the finished output.
        setup: of the run that was asked for.
        fingerprint: of its volume.

    Raises:
        ResumeError: names what differs, or says that there is no report to compare with.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        made = {
            "input": report["input"]["fingerprint"],
            "package": report["package"]["sha256"],
            "precision": report["precision"],
            "threshold": report["threshold"],
            "normalisation": [report["normalisation"][key] for key in ("low", "high", "clip")],
            "block or tile": [report["plan"]["block"], report["plan"]["tile"]],
            "grid": [report["grids"]["output_shape"], report["grids"]["output_voxel_nm"]],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"the output is finished, but its report {path} cannot be read, so it is not known what it was "
            "made from: make it again with --overwrite"
        ) from error
    asked = {
        "input": fingerprint,
        "package": setup.package.sha256,
        "precision": setup.choice.candidate.precision,
        "threshold": setup.threshold,
        "normalisation": [setup.intensity.low, setup.intensity.high, setup.intensity.clip],
        "block or tile": [list(setup.plan.block), list(setup.plan.tile)],
        "grid": [list(setup.spec.shape), setup.spec.voxel_nm and list(setup.spec.voxel_nm)],
    }
    different = [name for name, value in asked.items() if value != made[name]]
    if different:
        raise ResumeError(
            f"the output beside {path} is finished, but with another {' and another '.join(different)}: "
            "choose another output, or replace it with --overwrite"
        )


def _input(setup: Setup, fingerprint: str) -> InputFacts:
    volume = setup.volume
    name = Path(volume.path).name
    return InputFacts(name, volume.format, volume.shape, str(volume.dtype), volume.voxel_nm, fingerprint)


def _package(setup: Setup) -> PackageFacts:
    contract = setup.package.contract
    run = contract.provenance.get("run")
    method = run.get("method") if isinstance(run, dict) else None
    return PackageFacts(contract.name, setup.package.sha256, method if isinstance(method, str) else None)


def _grids(setup: Setup) -> GridFacts:
    working_nm = grid_voxel_nm(setup.volume, setup.package.contract, "working")
    return GridFacts(setup.plan.working_shape, working_nm, setup.plan.output_shape, setup.spec.voxel_nm)


def _normalisation(setup: Setup) -> NormalisationFacts:
    intensity = setup.intensity
    sampled = 0 if setup.options.intensity is not None else int(setup.counts.sum())
    return NormalisationFacts(intensity.low, intensity.high, intensity.clip, sampled)


def _plan(setup: Setup) -> PlanFacts:
    plan = setup.plan
    tiles = plan.tile_count()
    return PlanFacts(
        plan.block, plan.tile, plan.footprint.halo_px, plan.footprint.stride_px, len(plan), tiles
    )
