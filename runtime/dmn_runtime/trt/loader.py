"""A plan's bytes to an engine, or the reason why it is none, told apart as far as the library tells."""

from dataclasses import dataclass
from typing import Any, cast

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.api import Engine, RtxApi, RtxRuntime, Runtime
from dmn_runtime.trt.library import TENSORRT_RTX, Library
from dmn_runtime.trt.log import Log, make_logger
from dmn_runtime.trt.plan_header import read_header

_FOREIGN_VERSION = ("version", "expecting library")
_FOREIGN_GPU = ("compute capability", "incompatible device", "different gpu", "device of a different")
_DAMAGED = ("magic", "blobsize", "checksum", "corrupt", "plan.header")


@dataclass(frozen=True)
class LoadedPlan:
    """An engine and what must live as long as it."""

    engine: Engine
    runtime: Runtime
    logger: Any
    log: Log


def load_plan(plan: bytes, library: Library) -> LoadedPlan:
    """Deserialise a plan. The caller has opened a device: without a driver the library may end the process.

    A plan can run code of its maker's choice. Load only plans whose hash this computer's cache or a signed
    package has vouched for.

    Raises:
        EngineError: it is damaged, of another version, for another GPU, or the library refuses it.
    """
    log = Log()
    logger = make_logger(library.api, log)
    if library.word == TENSORRT_RTX:
        _check_version(plan, library)
    runtime = library.api.Runtime(logger)
    if library.word == TENSORRT_RTX:
        _check_validity(plan, cast("RtxRuntime", runtime), cast("RtxApi", library.api))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(explain(library.name, log.words()))
    return LoadedPlan(engine, runtime, logger, log)


def explain(name: str, words: str) -> str:
    """Return the sentence for a plan that the library refused with `words`."""
    said = words.lower()
    if any(mark in said for mark in _DAMAGED):
        cause = "is damaged or no plan"
    elif any(mark in said for mark in _FOREIGN_GPU):
        cause = "was built for another GPU"
    elif any(mark in said for mark in _FOREIGN_VERSION):
        cause = "was built by another version"
    else:
        cause = "cannot be loaded"
    return f"the plan {cause}, says {name} ({words}): build it again on this computer"


def _check_version(plan: bytes, library: Library) -> None:
    header = read_header(plan)
    if header.version != library.version:
        raise EngineError(
            f"the plan was built by another version, TensorRT-RTX {header.version}, and {library.version} is "
            "installed: build it again"
        )


def _check_validity(plan: bytes, runtime: RtxRuntime, api: RtxApi) -> None:
    """Ask tensorrt_rtx, which reads the header alone; it names no reason where the driver is at fault."""
    validity, bits = runtime.get_engine_validity(plan)
    if validity != api.EngineValidity.INVALID:
        return
    diagnostics = api.EngineInvalidityDiagnostics
    reasons = (
        (diagnostics.MALFORMED_ENGINE, "the plan is damaged or no plan: build it again"),
        (diagnostics.VERSION_MISMATCH, "the plan was built by another version: build it again"),
        (diagnostics.UNSUPPORTED_CC, "the plan was built for another GPU: build it for this one"),
        (diagnostics.OLD_CUDA_DRIVER, "the plan wants a newer NVIDIA driver: update the driver"),
        (diagnostics.OLD_CUDA_RUNTIME, "the plan wants a newer CUDA runtime: update TensorRT-RTX"),
        (
            diagnostics.INSUFFICIENT_GPU_MEMORY,
            "the plan needs more memory than the GPU has free: close other programs",
        ),
    )
    for reason, sentence in reasons:
        if bits & int(reason):
            raise EngineError(sentence)
