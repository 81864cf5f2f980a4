"""ONNX Runtime on an NVIDIA GPU (onnxruntime-gpu): no building, every GPU that CUDA knows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort

from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.onnx_session import INPUT_NAME, OnnxRunner, open_session, runner_of
from dmn_runtime.errors import EngineError, GpuMemoryError, MissingExtra
from dmn_runtime.gpu.device import Device, DeviceMemory, Stream
from dmn_runtime.gpu.memory_plan import MOST_LANES
from dmn_runtime.trt.profile import Nchw

SETTINGS: Mapping[str, str] = MappingProxyType({"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
"""fp32 is fp32, and no algorithm is chosen by timing: a resumed run must end in the same bytes."""

_MEMORY_WORDS = ("out of memory", "failed to allocate", "cudaerrormemoryallocation", "alloc_failed")


def settings_on(stream: Stream) -> dict[str, str]:
    """Return the provider's settings of a session that works on a stream of ours."""
    return {**SETTINGS, "user_compute_stream": str(stream.handle)}


@dataclass(frozen=True)
class Place:
    """Where ONNX Runtime computes.

    Attributes:
        provider: ONNX Runtime's name of the device.
        memory: its word for where buffers of ours lie.
        settings_on: settings of the provider for a session on a stream.
    """

    provider: str
    memory: str
    settings_on: Callable[[Stream], Mapping[str, str]]


GPU = Place("CUDAExecutionProvider", "cuda", settings_on)


@dataclass
class BoundSession:
    """A session of its own, tied to a stream and to buffers of ours; satisfies `BoundNetwork`.

    Each stream has a session, because ONNX Runtime takes the stream when a session is made. It is not
    captured: what the library does beside its kernels cannot be.
    """

    stream: Stream
    image: DeviceMemory
    logits: DeviceMemory
    shape: Nchw
    session: ort.InferenceSession | None
    binding: Any
    options: Any
    capturable: bool = False

    def enqueue(self) -> None:
        """Enqueue the network; see `BoundNetwork`."""
        assert self.session is not None
        try:
            self.session.run_with_iobinding(self.binding, self.options)
        except Exception as error:  # the library raises unrelated types
            raise _failed(error) from error

    def release(self) -> None:
        """Give stream and memory back, after the session that uses them."""
        self.binding = self.session = None
        self.image.free()
        self.logits.free()
        self.stream.close()


@dataclass(frozen=True)
class CudaRunner:
    """A network on the GPU; satisfies `DeviceRunner`. `host`: the session that takes arrays of the host."""

    host: OnnxRunner
    network: bytes
    device: Device
    place: Place = GPU
    fixed_shape: Nchw | None = None
    most_bound: int = MOST_LANES

    @property
    def description(self) -> str:
        """Library, version and device, for the report."""
        return self.host.description

    @property
    def batch_dtype(self) -> np.dtype[np.float16] | np.dtype[np.float32]:
        """Of batch and logits."""
        return np.dtype(np.float16) if self.host.half else np.dtype(np.float32)

    def run(self, tiles: Tiles) -> Tiles:
        """Return the logits of tiles of the host; see `Runner`."""
        return self.host.run(tiles)

    def bind(self, shape: Nchw) -> BoundSession:
        """Tie the network to a new stream; see `DeviceRunner`."""
        stream = self.device.stream()
        taken: list[DeviceMemory] = []
        session: ort.InferenceSession | None = None
        binding: Any = None
        try:
            session = self._session(stream)
            output_shape = (shape[0], 1, *shape[2:])
            for one in (shape, output_shape):
                taken.append(self.device.device_memory(math.prod(one) * self.batch_dtype.itemsize))
            binding = self._binding(session, (shape, output_shape), (taken[0], taken[1]))
        except BaseException:
            session = binding = None  # before what they were given
            for memory in taken:
                memory.free()
            stream.close()
            raise
        options = ort.RunOptions()
        # Whoever takes the result waits for the stream; the library need not.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return BoundSession(stream, taken[0], taken[1], shape, session, binding, options)

    def _session(self, stream: Stream) -> ort.InferenceSession:
        return open_session(self.network, self.place.provider, settings=self.place.settings_on(stream))

    def _binding(
        self,
        session: ort.InferenceSession,
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        memory: tuple[DeviceMemory, DeviceMemory],
    ) -> Any:
        """Tie a session to image and logits."""
        binding, kind, where = session.io_binding(), self.batch_dtype.type, self.place.memory
        binding.bind_input(INPUT_NAME, where, 0, kind, shapes[0], memory[0].address)
        name = session.get_outputs()[0].name
        binding.bind_output(name, where, 0, kind, shapes[1], memory[1].address)
        return binding

    def close(self) -> None:
        """Nothing to do: the session goes with the object."""


def open_cuda(network: bytes, say: Callable[[str], None]) -> Runner:
    """Load a network on the first GPU.

    Where the device seam cannot be had the network runs all the same, aloud, tiles being cut on the
    processor.

    Raises:
        EngineError: there is no GPU for this ONNX Runtime, or it cannot load the network.
    """
    from dmn_runtime.gpu.open import open_device

    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA and cuDNN that pip has installed
    host = runner_of(open_session(network, GPU.provider, settings=SETTINGS), "GPU 0")
    try:
        device = open_device()
    except (MissingExtra, EngineError) as error:
        say(f"cuda: tiles are cut on the processor, which is slower: {error}")
        return host
    return CudaRunner(host, network, device)


def _failed(error: Exception) -> EngineError:
    words = " ".join(str(error).split())
    if any(mark in words.lower() for mark in _MEMORY_WORDS):
        library = f"onnxruntime {ort.__version__}"
        return GpuMemoryError(f"the GPU has not enough memory for {library} ({words[:200]})")
    return EngineError(f"onnxruntime {ort.__version__} failed on the GPU ({words[:200]}): see dmn doctor")
