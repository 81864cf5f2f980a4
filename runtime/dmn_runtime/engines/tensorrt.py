"""TensorRT and TensorRT for RTX: plans from the package or this machine's cache, built where there is none.

Only plans whose hash the package or our own cache vouches for are loaded: a plan can run code of its maker's
choice.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.record import Label
from dmn_runtime.engine_cache.store import Obtained, obtain
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.catalogue import Order
from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu.device import Device
from dmn_runtime.gpu.inquiry import Gpu, visible_gpus
from dmn_runtime.gpu.memory_plan import BatchShape, begun_too_large
from dmn_runtime.trt.build_job import RECIPE, BuildJob
from dmn_runtime.trt.builder import check_plan
from dmn_runtime.trt.child import build_in_child
from dmn_runtime.trt.library import Library, load_library
from dmn_runtime.trt.package_plans import job_for, packaged_plan, profile_for
from dmn_runtime.trt.progress import Report, ignore
from dmn_runtime.trt.progress_bar import building
from dmn_runtime.trt.targets import Targets, this_platform


def open_tensorrt(word: str, order: Order) -> Runner:
    """Load a package's network on the first GPU.

    A plan of the package that the library refuses is said aloud, and one is built here instead.

    Args:
        word: "tensorrt" or "tensorrt_rtx".
        order: what is wanted.

    Raises:
        EngineError: there is no GPU, or no plan for it can be had.
        MissingExtra: a library is not installed.
        PackageError: the package changed while it was read.
        ResumeError: what the run was begun with does not fit into the GPU's memory any more.
    """
    from dmn_runtime.gpu.open import open_device

    library, device = load_library(word), open_device()
    gpu = gpu_of(device.uuid)
    while True:
        try:
            return _opened(word, order, library, device, gpu)
        except GpuMemoryError as error:
            if order.exactly:
                raise begun_too_large(BatchShape(order.batch, order.edge_px), str(error)) from error
            if order.batch == 1:
                raise
            order = replace(order, batch=order.batch // 2)
            order.say(f"{word} {order.precision}: {error}; goes on with batches of {order.batch}")


def _opened(word: str, order: Order, library: Library, device: Device, gpu: Gpu) -> Runner:
    from dmn_runtime.trt.loader import load_plan
    from dmn_runtime.trt.runner import open_runner

    packaged = plan_from_package(order, library, gpu)
    if packaged is not None:
        try:
            return open_runner(packaged, library, device, order.precision)
        except GpuMemoryError as error:
            if order.exactly:
                raise
            # A plan is built for one batch, so with less memory one is built here.
            order.say(f"the package's own {word} engine is too large: {error}")
        except EngineError as error:
            order.say(f"the package's own {word} engine is not used: {error}")

    def check(plan: bytes) -> None:
        device.make_current()
        load_plan(plan, library)

    with building(f"{word} {order.precision}") as progress:
        found = plan_from_cache(order, library, gpu, check=check, progress=progress)
    if found.how in ("rebuilt", "unkept"):
        order.say(f"{word} {order.precision}: {found.why}")
    return open_runner(found.plan, library, device, order.precision)


def first_gpu() -> Gpu:
    """Return the GPU that plans are built for and run on: the first that CUDA gives this process.

    Raises:
        EngineError: the driver knows none.
    """
    if not visible_gpus():
        raise EngineError(
            "no NVIDIA driver answers on this machine: dmn build takes other GPUs with --for, dmn infer runs "
            "on the processor with --engine auto"
        )
    from dmn_runtime.gpu.open import open_device

    return gpu_of(open_device().uuid)


def gpu_of(uuid: str) -> Gpu:
    """Return what the driver says of a GPU; `uuid` is CUDA's, with or without its "GPU-".

    Raises:
        EngineError: nvidia-smi does not know it.
    """
    for gpu in visible_gpus():
        if gpu.uuid.removeprefix("GPU-") == uuid.removeprefix("GPU-"):
            return gpu
    raise EngineError(f"nvidia-smi does not know the GPU {uuid} that CUDA gives: check the driver")


def plan_from_package(order: Order, library: Library, gpu: Gpu) -> bytes | None:
    """Return a plan that travels in the package and runs here, None without one that may be taken."""
    found = packaged_plan(
        order.package.contract.plans,
        library.word,
        library.version,
        order.precision,
        this_platform(),
        gpu.compute_capability or "",
        order.edge_px,
    )
    if found is None:
        return None
    if order.exactly and (found.most[0], found.most[2]) != (order.batch, order.edge_px):
        return None
    return order.package.read_member(found.member)


def plan_from_cache(
    order: Order,
    library: Library,
    gpu: Gpu,
    *,
    check: Callable[[bytes], None] = lambda _: None,
    progress: Report = ignore,
) -> Obtained:
    """Return the plan for this GPU from the cache, built first where it is not there or is stale.

    Args:
        order: what is wanted.
        library: that builds and runs it.
        gpu: that it is for.
        check: raises EngineError for a plan that this machine's library refuses: it is built again.
        progress: hears of a build.

    Raises:
        EngineError: it cannot be built.
    """
    profile = profile_for(order.package.contract, order.edge_px, order.batch, dynamic=False)
    job = job_for(library.word, order.precision, profile, Targets((), this_platform()))
    network = order.package.network(order.precision)

    def build(path: Path) -> None:
        order.say(f"building the {library.word} engine in {order.precision} for {gpu.name}")
        build_in_child(job, network, path, gpu.uuid, progress)

    def check_whole(plan: bytes) -> None:
        check_plan(plan, job, library.version)
        check(plan)

    return obtain(
        engine_key(job, network, library, gpu),
        Label(order.package.contract.name, order.package.sha256),
        build,
        check_whole,
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
