"""From a run to an air-gapped folder: export, engines for the named GPUs, everything that a PC needs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dmn_export.airgap.folder import check_folder, write_folder
from dmn_export.airgap.plan import AirGapWishes, FolderPlan, plan_folder
from dmn_export.pipeline import Exported, Wishes, export_run
from dmn_runtime.package import Package
from dmn_runtime.trt.library import TENSORRT_RTX
from dmn_runtime.trt.package_build import Request, add_plans, precisions_of
from dmn_runtime.trt.targets import parse_targets
from dmn_train.run import Run

Say = Callable[[str], None]


def export_air_gapped(run: Run, folder: Path, wishes: Wishes, air_gap: AirGapWishes, say: Say) -> Exported:
    """Export a run into a folder that a PC without network can install and use.

    Args:
        run: finished.
        folder: to be made; the package in it is called like the folder.
        wishes: for the package.
        air_gap: for the folder; its GPU families get engines, which need no GPU here.
        say: takes sentences for people.

    Raises:
        DmnError: a wish makes no sense, the export fails, or what the PC needs cannot be had; no folder then.
    """
    check_folder(folder, air_gap.overwrite)
    plan = plan_folder(air_gap)
    with TemporaryDirectory() as temporary:
        package = Path(temporary, f"{folder.name}.zip")
        exported = export_run(run, package, wishes, say, pictures=folder)
        complete = _with_engines(exported.package, plan, Path(temporary), say)
        write_folder(complete.path, folder, plan, say)
    return Exported(replace(complete, path=folder / complete.path.name), exported.refused)


def _with_engines(package: Package, plan: FolderPlan, temporary: Path, say: Say) -> Package:
    """Return the package with engines for every family on every platform; as it is where none is asked."""
    if not plan.gpu_families:
        return package
    for platform in plan.platforms:
        request = Request(package, TENSORRT_RTX)
        targets = parse_targets(",".join([*plan.gpu_families, platform]))
        package = add_plans(request, precisions_of(request), targets, temporary / package.path.name, say)
    return package
