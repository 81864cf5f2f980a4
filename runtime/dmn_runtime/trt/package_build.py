"""Build the plans of a package: into this machine's cache, or into a copy of the package for other GPUs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dmn_runtime.archive import check_output, write_archive
from dmn_runtime.contract import PackagedPlan
from dmn_runtime.engines.catalogue import Order, kind_of
from dmn_runtime.engines.examination import read_edge_px
from dmn_runtime.engines.tensorrt import first_gpu, plan_from_cache
from dmn_runtime.errors import UsageError
from dmn_runtime.package import Package
from dmn_runtime.plan import BLOCK_SLICES
from dmn_runtime.trt.child import build_in_child
from dmn_runtime.trt.library import load_library
from dmn_runtime.trt.package_plans import CONTEXTS, described, job_for, profile_for
from dmn_runtime.trt.progress_bar import building
from dmn_runtime.trt.targets import Targets, parse_targets

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is to be built.

    Attributes:
        package: holds the networks.
        engine: "tensorrt" or "tensorrt_rtx".
        precisions: which of the package's; None is all that the engine runs.
        tile_px: largest edge of a tile without its halo; None is the plan's own.
        batch: most slices in one call; None is a block's.
        dynamic: any tile size up to that instead of one.
    """

    package: Package
    engine: str
    precisions: tuple[str, ...] | None = None
    tile_px: int | None = None
    batch: int | None = None
    dynamic: bool = False


def precisions_of(request: Request) -> tuple[str, ...]:
    """Return the precisions to build, in the engine's order.

    Raises:
        UsageError: one is not in the package, or the engine does not run it.
    """
    able = kind_of(request.engine).precisions
    held = tuple(name for name in able if name in request.package.contract.precisions)
    if request.precisions is None:
        return held
    for name in request.precisions:
        if name not in held:
            raise UsageError(
                f"{request.engine} cannot build {name!r} of {request.package.path}: --precision takes "
                f"{', '.join(held)}"
            )
    return tuple(dict.fromkeys(request.precisions))


def build_here(request: Request, say: Say) -> list[str]:
    """Build for the GPU of this machine, into the engine cache; return a line for each engine.

    Raises:
        EngineError: there is no GPU, or a build failed.
        MissingExtra: the library is not installed.
        UsageError: a wish makes no sense.
    """
    precisions = precisions_of(request)
    library, gpu = load_library(request.engine), first_gpu()
    lines = []
    for precision in precisions:
        with building(f"{request.engine} {precision}") as progress:
            order = _order(request, precision, say)
            plan = plan_from_cache(order, library, gpu, progress=progress)
        lines.append(
            f"{request.engine} {precision} for {gpu.device}: {plan.how}, {len(plan.plan) / 1e6:.2f} MB"
            + ("" if plan.how in ("cached", "built") else f" ({plan.why})")
        )
    return lines


def build_for_others(
    request: Request, targets: str, output: Path, say: Say, *, overwrite: bool = False
) -> list[str]:
    """Build for the GPUs that `targets` names and write a copy of the package that carries the engines.

    Raises:
        EngineError: a target is unknown, or a build failed.
        MissingExtra: the library is not installed.
        UsageError, OutputError: a wish or the output makes no sense.
    """
    precisions = precisions_of(request)
    wanted = parse_targets(targets)
    if not wanted.compute_capabilities:
        raise UsageError(f"--for {targets} names no GPU: add rtx20, a100, rtx30, rtx40 or rtx50")
    check_output(output, overwrite)
    written = add_plans(request, precisions, wanted, output, say)
    carried = len(written.contract.plans) - len(precisions)  # these come first
    return [
        *(
            f"{plan.library} {plan.precision} for {', '.join(plan.targets)} on {plan.platform}: "
            f"{len(written.read_member(plan.member)) / 1e6:.2f} MB"
            + (f", carried over from {request.package.path}" if index < carried else "")
            for index, plan in enumerate(written.contract.plans)
        ),
        f"{output}: {output.stat().st_size / 1e6:.2f} MB with engines, sha256 {written.sha256[:12]}; "
        f"{'those built now' if carried else 'they'} run on {request.engine} "
        f"{written.contract.plans[-1].library_version} and no other version",
    ]


def add_plans(
    request: Request, precisions: tuple[str, ...], targets: Targets, output: Path, say: Say
) -> Package:
    """Write a copy of a package with plans for `targets`, after those for others that it holds already."""
    contract = request.package.contract
    new = [_built(request, precision, targets, say) for precision in precisions]
    names = {plan.member for plan, _ in new}
    kept = tuple(plan for plan in contract.plans if plan.member not in names)
    members = {name: request.package.read_member(name) for name in contract.members if name not in names}
    plans = (*kept, *(plan for plan, _ in new))
    return write_archive(
        output, replace(contract, plans=plans), members | {plan.member: content for plan, content in new}
    )


def _built(request: Request, precision: str, targets: Targets, say: Say) -> tuple[PackagedPlan, bytes]:
    library = load_library(request.engine)
    order = _order(request, precision, say)
    profile = profile_for(request.package.contract, order.edge_px, order.batch, dynamic=request.dynamic)
    job = job_for(request.engine, precision, profile, targets)
    say(f"building {request.engine} {precision} for {', '.join(job.compute_capabilities)} on {job.platform}")
    with TemporaryDirectory() as folder, building(f"{request.engine} {precision}") as progress:
        path = Path(folder, "engine.plan")
        build_in_child(job, request.package.network(precision), path, None, progress)
        return described(job, library.version), path.read_bytes()


def _order(request: Request, precision: str, say: Say) -> Order:
    return Order(
        package=request.package,
        precision=precision,
        workers=CONTEXTS,
        edge_px=read_edge_px(request.package.contract, request.tile_px),
        batch=request.batch or BLOCK_SLICES,
        say=say,
    )
