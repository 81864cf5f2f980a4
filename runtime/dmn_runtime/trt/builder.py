"""Build a plan: one builder for both libraries.

Networks are strongly typed: fp16 and int8 are in the ONNX file, and no flag of the builder changes them. TF32
is switched off, because an fp32 plan is the exact one; who wants speed takes fp16.
"""

from typing import Any, cast

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.api import Api, Builder, Config, Network, Parser, RtxApi, RtxConfig
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.driver import first_compute_capability, require_driver
from dmn_runtime.trt.library import NAMES, TENSORRT_RTX, Library
from dmn_runtime.trt.log import Log, make_logger
from dmn_runtime.trt.plan_header import read_header, target_bits
from dmn_runtime.trt.progress import Interruption, Report, ignore, make_monitor
from dmn_runtime.trt.targets import family_of, needs_hardware_compatibility, this_platform

_OLDEST_COMPATIBLE = "SM80"
_LEAST_PLAN_BYTES = 64


def build(job: BuildJob, network: bytes, library: Library, progress: Report = ignore) -> bytes:
    """Build a plan in this process; `build_in_child` does so in one of its own.

    Args:
        job: what to build.
        network: the ONNX file, of the job's precision; one input, one output.
        library: the one that the job names.
        progress: told how far the build is; what it raises ends the build and comes out here.

    Returns:
        The plan, checked by `check_plan`. Two builds of one job are not the same bytes.

    Raises:
        EngineError: the network cannot be built, is not of the job's precision, or the target is not to be
            had here; the message has the library's own words.
    """
    if library.word != job.library:
        raise ValueError(f"the job is for {job.library}, the library is {library.word}")
    log = Log()
    logger = make_logger(library.api, log)
    builder = _open_builder(library, logger)
    definition = builder.create_network(1 << int(library.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    # The parser holds no reference to the network: both must be named until the plan is built.
    parser = library.api.OnnxParser(definition, logger)
    _parse(parser, network, library, log)
    _check_network(definition, job, library.api)
    config = builder.create_builder_config()
    interruption = Interruption()
    config.progress_monitor = make_monitor(library.api, progress, interruption)
    _configure(config, job, library, log)
    _add_profiles(builder, config, definition, job, log)
    plan = builder.build_serialized_network(definition, config)
    if interruption.error is not None:
        raise interruption.error
    if plan is None:
        raise EngineError(f"{library.name} cannot build the network: {log.words()}")
    content = bytes(plan)
    check_plan(content, job, library.version)
    return content


def check_plan(plan: bytes, job: BuildJob, version: str | None = None) -> None:
    """Check of a plan what can be checked without a driver.

    A TensorRT-RTX plan says its length, version and targets; of a native one only its presence can be told.

    Args:
        plan: the whole file.
        job: what it should be.
        version: of the library that shall have built it; None: any.

    Raises:
        EngineError: it is empty, cut short, no plan, of another version, or for other targets.
    """
    if len(plan) < _LEAST_PLAN_BYTES:
        raise EngineError(
            f"{NAMES[job.library]} gave a plan of {len(plan)} bytes, which is none: build it again"
        )
    if job.library != TENSORRT_RTX:
        return
    header = read_header(plan)
    if version is not None and header.version != version:
        raise EngineError(
            f"the plan was built by TensorRT-RTX {header.version}, {version} is installed: build it again"
        )
    if job.compute_capabilities and header.targets != target_bits(job.compute_capabilities):
        raise EngineError(
            f"the plan is not for {', '.join(job.compute_capabilities)} (its targets are "
            f"{header.targets:#x}): build it again"
        )


def _open_builder(library: Library, logger: Any) -> Builder:
    try:
        return library.api.Builder(logger)
    except TypeError as error:  # "factory function returned nullptr" is all that it says
        raise EngineError(
            f"{library.name} opens no builder on this computer: native TensorRT needs an NVIDIA driver and "
            "GPU to build; --engine tensorrt_rtx does not"
        ) from error


def _parse(parser: Parser, network: bytes, library: Library, log: Log) -> None:
    if not network:  # the parser takes nothing for a network
        raise EngineError("the network's ONNX file is empty: export the package again")
    if parser.parse(network):
        return
    faults = [parser.get_error(index) for index in range(parser.num_errors)]
    told = "; ".join(
        f"{fault.node_name() or 'file'}: {' '.join(fault.desc().split())}" for fault in faults[:3]
    )
    raise EngineError(f"{library.name} cannot read the network: {told or log.words()}")


def _check_network(definition: Network, job: BuildJob, api: Api) -> None:
    counts = (definition.num_inputs, definition.num_outputs)
    if counts != (1, 1):
        raise EngineError(f"a network has one input and one output, this one has {counts[0]} and {counts[1]}")
    channels = definition.get_input(0).shape[1]
    if channels not in (-1, job.profile.most[1]):
        raise EngineError(
            f"the network takes {channels} channels, the build's profile says {job.profile.most[1]}"
        )
    found = _precision_of(definition, api)
    if found != job.precision:
        raise EngineError(f"the network is {found}, the build is for {job.precision}: give it that ONNX file")


def _precision_of(definition: Network, api: Api) -> str:
    layers = (definition.get_layer(index) for index in range(definition.num_layers))
    if any(layer.type == api.LayerType.QUANTIZE for layer in layers):
        return "int8-trt"
    return "fp16" if definition.get_input(0).dtype == api.DataType.HALF else "fp32"


def _configure(config: Config, job: BuildJob, library: Library, log: Log) -> None:
    config.clear_flag(library.api.BuilderFlag.TF32)
    if job.optimisation_level is not None:
        config.builder_optimization_level = job.optimisation_level
    if job.library == TENSORRT_RTX:
        _target_rtx(cast("RtxConfig", config), job, cast("RtxApi", library.api), log)
    else:
        _target_native(config, job, library, log)


def _target_rtx(config: RtxConfig, job: BuildJob, api: RtxApi, log: Log) -> None:
    """Set the families. The platform needs nothing: NVIDIA says that these plans run on Linux and Windows."""
    if not job.compute_capabilities:
        require_driver()  # CURRENT asks it, and says nothing that helps when it is not there
    names = job.compute_capabilities or ("CURRENT",)
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        if not config.set_compute_capability(getattr(api.ComputeCapability, name), index):
            raise EngineError(f"TensorRT-RTX refuses to build for {name}: {log.words()}")


def _target_native(config: Config, job: BuildJob, library: Library, log: Log) -> None:
    check_native_targets(job.compute_capabilities)
    if needs_hardware_compatibility(job.compute_capabilities):
        config.hardware_compatibility_level = library.api.HardwareCompatibilityLevel.AMPERE_PLUS
    elif job.compute_capabilities:
        _check_gpu(job.compute_capabilities[0], first_compute_capability())
    if job.platform == this_platform():
        return
    wanted = library.api.RuntimePlatform.WINDOWS_AMD64
    config.runtime_platform = wanted
    if config.runtime_platform != wanted:  # a refusal is only logged
        raise EngineError(f"{library.name} cannot build for {job.platform} here: {log.words()}")


def check_native_targets(compute_capabilities: tuple[str, ...]) -> None:
    """Refuse families that native TensorRT cannot serve with one plan.

    Raises:
        EngineError: several are asked for, one of them older than Ampere.
    """
    several = needs_hardware_compatibility(compute_capabilities)
    old = [name for name in compute_capabilities if int(name[2:]) < int(_OLDEST_COMPATIBLE[2:])]
    if several and old:
        raise EngineError(
            f"native TensorRT builds one plan for several GPU families from Ampere on, {old[0]} is older: "
            "build for it alone, or take --engine tensorrt_rtx"
        )


def _check_gpu(wanted: str, compute_capability: str) -> None:
    if "SM" + compute_capability.replace(".", "") == wanted:
        return
    family = family_of(compute_capability)
    here = family.title if family else f"of compute capability {compute_capability}"
    raise EngineError(
        f"native TensorRT builds for the GPU it runs on, which is {here} and not {wanted}: build "
        "there, or take --engine tensorrt_rtx"
    )


def _add_profiles(builder: Builder, config: Config, definition: Network, job: BuildJob, log: Log) -> None:
    """Add the profile once for each context: contexts that run side by side must not share one."""
    shapes = (job.profile.least, job.profile.best, job.profile.most)
    for _ in range(job.contexts):
        profile = builder.create_optimization_profile()
        profile.set_shape(definition.get_input(0).name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"TensorRT refuses the tile shapes {shapes}: {log.words()}")
