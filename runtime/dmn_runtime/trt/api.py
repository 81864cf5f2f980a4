"""The part of TensorRT's Python API that DMN uses, and no more.

`tensorrt` 11 and `tensorrt_rtx` offer the same names here; what only the second has stands in the classes
named Rtx. mypy holds the code to these classes, and a test holds the classes to the names that both libraries
really have, so that an attribute which a new version drops is found without a GPU.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Shape = tuple[int, ...]


class LoggerSeverities(Protocol):
    """`ILogger`, which carries its severities as attributes; it is subclassed, never called."""

    INTERNAL_ERROR: Any
    ERROR: Any
    WARNING: Any


class NetworkFlags(Protocol):
    """`NetworkDefinitionCreationFlag`."""

    STRONGLY_TYPED: Any


class BuilderFlags(Protocol):
    """`BuilderFlag`."""

    TF32: Any


class Platforms(Protocol):
    """`RuntimePlatform`."""

    WINDOWS_AMD64: Any


class HardwareLevels(Protocol):
    """`HardwareCompatibilityLevel`."""

    AMPERE_PLUS: Any


class DataTypes(Protocol):
    """`DataType`."""

    FLOAT: Any
    HALF: Any


class LayerTypes(Protocol):
    """`LayerType`."""

    QUANTIZE: Any


class TensorModes(Protocol):
    """`TensorIOMode`."""

    INPUT: Any
    OUTPUT: Any


class Layer(Protocol):
    """`ILayer`."""

    @property
    def type(self) -> Any:
        """A member of `LayerType`."""


class Tensor(Protocol):
    """`ITensor`."""

    @property
    def name(self) -> str:
        """As in the ONNX file."""

    @property
    def shape(self) -> Sequence[int]:
        """-1 where the axis is free."""

    @property
    def dtype(self) -> Any:
        """A member of `DataType`."""


class Network(Protocol):
    """`INetworkDefinition`."""

    @property
    def num_inputs(self) -> int:
        """How many tensors go in."""

    @property
    def num_outputs(self) -> int:
        """How many tensors come out."""

    @property
    def num_layers(self) -> int:
        """How many layers there are."""

    def get_input(self, index: int) -> Tensor:
        """Return an input."""

    def get_output(self, index: int) -> Tensor:
        """Return an output."""

    def get_layer(self, index: int) -> Layer:
        """Return a layer."""


class ParserError(Protocol):
    """`ParserError`."""

    def desc(self) -> str:
        """Return what is wrong."""

    def node_name(self) -> str:
        """Return where."""


class Parser(Protocol):
    """`OnnxParser`."""

    @property
    def num_errors(self) -> int:
        """How many errors the last parse found."""

    def parse(self, model: bytes) -> bool:
        """Read an ONNX file into the network; True for b"", which is no network."""

    def get_error(self, index: int) -> ParserError:
        """Return an error of the last parse."""


class Profile(Protocol):
    """`IOptimizationProfile`."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:  # noqa: A002
        """Set the smallest, the best and the largest shape of an input."""


class Config(Protocol):
    """`IBuilderConfig`."""

    builder_optimization_level: int
    hardware_compatibility_level: Any
    runtime_platform: Any
    progress_monitor: Any

    def clear_flag(self, flag: Any) -> None:
        """Clear a member of `BuilderFlag`."""

    def add_optimization_profile(self, profile: Profile) -> int:
        """Return the profile's index, or -1 where it is refused."""


class RtxConfig(Config, Protocol):
    """`IBuilderConfig` of tensorrt_rtx."""

    num_compute_capabilities: int

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        """Ask for a family of GPUs; False where it is refused."""


class Builder(Protocol):
    """`Builder`."""

    def create_network(self, flags: int) -> Network:
        """Return an empty network."""

    def create_builder_config(self) -> Config:
        """Return the default settings."""

    def create_optimization_profile(self) -> Profile:
        """Return an empty profile."""

    def build_serialized_network(self, network: Network, config: Config) -> Any:
        """Return a plan with the buffer protocol, or None."""


class Context(Protocol):
    """`IExecutionContext`."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose the profile."""

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        """Set the shape of an input."""

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """Return a shape, known once all inputs have theirs."""

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Say where in device memory a tensor lies."""

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue the network on a stream."""


class Engine(Protocol):
    """`ICudaEngine`."""

    @property
    def num_io_tensors(self) -> int:
        """How many tensors go in and out."""

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles the plan has."""

    def get_tensor_name(self, index: int) -> str:
        """Return the name of a tensor."""

    def get_tensor_mode(self, name: str) -> Any:
        """Return a member of `TensorIOMode`."""

    def get_tensor_dtype(self, name: str) -> Any:
        """Return a member of `DataType`."""

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]:
        """Return smallest, best and largest shape of an input."""

    def create_execution_context(self) -> Context | None:
        """Return a context, or None where there is not enough memory."""


class Runtime(Protocol):
    """`Runtime`."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        """Return the engine of a plan, or None."""


class RtxRuntime(Runtime, Protocol):
    """`Runtime` of tensorrt_rtx."""

    def get_engine_validity(self, buffer: bytes) -> tuple[Any, int]:
        """Return a member of `EngineValidity` and bits of `EngineInvalidityDiagnostics`."""


class Api(Protocol):
    """The library's module."""

    __version__: str
    Builder: Callable[[Any], Builder]
    OnnxParser: Callable[[Network, Any], Parser]
    Runtime: Callable[[Any], Runtime]
    ILogger: LoggerSeverities
    IProgressMonitor: Any
    NetworkDefinitionCreationFlag: NetworkFlags
    BuilderFlag: BuilderFlags
    RuntimePlatform: Platforms
    HardwareCompatibilityLevel: HardwareLevels
    DataType: DataTypes
    LayerType: LayerTypes
    TensorIOMode: TensorModes


class RtxValidities(Protocol):
    """`EngineValidity`."""

    INVALID: Any


class RtxDiagnostics(Protocol):
    """`EngineInvalidityDiagnostics`."""

    VERSION_MISMATCH: Any
    UNSUPPORTED_CC: Any
    OLD_CUDA_DRIVER: Any
    OLD_CUDA_RUNTIME: Any
    INSUFFICIENT_GPU_MEMORY: Any
    MALFORMED_ENGINE: Any


class RtxApi(Api, Protocol):
    """The module tensorrt_rtx. Of `ComputeCapability` the members are named by `BuildJob`."""

    ComputeCapability: Any
    EngineValidity: RtxValidities
    EngineInvalidityDiagnostics: RtxDiagnostics
