"""TensorRT and TensorRT for RTX: plans from the package or this machine's cache, built where there is none.

Only plans whose hash the package or our own cache vouches for are loaded: a plan can run code of its maker's
choice.
"""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.record import Label
from dmn_runtime.engine_cache.store import Obtained, obtain
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.catalogue import Order
from dmn_runtime.errors import EngineError
from dmn_runtime.gpu.inquiry import Gpu, visible_gpus
from dmn_runtime.trt.build_job import RECIPE, BuildJob
from dmn_runtime.trt.builder import check_plan
from dmn_runtime.trt.child import build_in_child
from dmn_runtime.trt.library import Library, load_library
from dmn_runtime.trt.package_plans import job_for, packaged_plan, profile_for
from dmn_runtime.trt.progress import Report, ignore
from dmn_runtime.trt.targets import Targets, this_platform


def open_tensorrt(word: str, order: Order) -> Runner:
    """Load a package's network on the first GPU.

    Args:
        word: "tensorrt" or "tensorrt_rtx".
        order: what is wanted.

    Raises:
        EngineError: there is no GPU, or no plan for it can be had.
        MissingExtra: a library is not installed.
        PackageError: the package changed while it was read.
    """
    from dmn_runtime.gpu.cuda_core import open_cuda_device
    from dmn_runtime.trt.runner import open_runner

    library = load_library(word)
    gpu = first_gpu()
    plan = plan_from_package(order, library, gpu)
    if plan is None:
        plan = plan_from_cache(order, library, gpu).plan
    return open_runner(plan, library, open_cuda_device(), order.precision)


def first_gpu() -> Gpu:
    """Return the GPU that plans are built for and run on.

    Raises:
        EngineError: the driver knows none.
    """
    gpus = visible_gpus()
    if not gpus:
        raise EngineError(
            "no NVIDIA driver answers on this machine: dmn build takes other GPUs with --for, dmn infer runs "
            "on the processor with --engine auto"
        )
    return gpus[0]


def plan_from_package(order: Order, library: Library, gpu: Gpu) -> bytes | None:
    """Return a plan that travels in the package and runs here, None without one."""
    found = packaged_plan(
        order.package.contract.plans,
        library.word,
        library.version,
        order.precision,
        this_platform(),
        gpu.compute_capability or "",
        order.edge_px,
    )
    return None if found is None else order.package.read_member(found.member)


def plan_from_cache(
    order: Order, library: Library, gpu: Gpu, *, dynamic: bool = False, progress: Report = ignore
) -> Obtained:
    """Return the plan for this GPU from the cache, built first where it is not there or is stale.

    Args:
        order: what is wanted.
        library: that builds and runs it.
        gpu: that it is for.
        dynamic: any tile size instead of one.
        progress: hears of a build.

    Raises:
        EngineError: it cannot be built.
    """
    profile = profile_for(order.package.contract, order.edge_px, order.batch, dynamic=dynamic)
    job = job_for(library.word, order.precision, profile, Targets((), this_platform()), order.workers)
    network = order.package.network(order.precision)

    def build(path: Path) -> None:
        order.say(f"building the {library.word} engine in {order.precision} for {gpu.name}")
        build_in_child(job, network, path, gpu.uuid, progress)

    return obtain(
        engine_key(job, network, library, gpu),
        Label(order.package.contract.name, order.package.sha256),
        build,
        lambda plan: check_plan(plan, job, library.version),
        say=order.say,
    )


def engine_key(job: BuildJob, network: bytes, library: Library, gpu: Gpu) -> EngineKey:
    """Return the cache's key of a plan for a GPU."""
    return EngineKey(
        onnx_sha256=sha256(network).hexdigest(),
        library=library.word,  # type: ignore[arg-type]
        library_version=library.version,
        device=gpu.device,
        driver=gpu.driver_version,
        precision=job.precision,
        profile=asdict(job.profile) | {"contexts": job.contexts, "level": job.optimisation_level},
        targets=job.compute_capabilities,
        platform=job.platform,  # type: ignore[arg-type]
        recipe=RECIPE,
    )
