"""ONNX Runtime on an NVIDIA GPU (onnxruntime-gpu): no building, every GPU that CUDA knows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.onnx_session import INPUT_NAME, OnnxRunner, open_session, runner_of
from dmn_runtime.errors import EngineError, GpuMemoryError, MissingExtra
from dmn_runtime.gpu.device import Device, DeviceMemory, Stream
from dmn_runtime.gpu.memory_plan import MOST_LANES
from dmn_runtime.trt.profile import Nchw

PROVIDER = "CUDAExecutionProvider"
SETTINGS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""fp32 is fp32, and no algorithm is chosen by timing: a resumed run must end in the same bytes."""
PLACE = "cuda"
"""Where ONNX Runtime is told that our buffers lie."""

_MEMORY_WORDS = ("out of memory", "failed to allocate", "cudaerrormemoryallocation", "alloc_failed")


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
    session: ort.InferenceSession
    binding: Any
    options: Any
    capturable: bool = False

    def enqueue(self) -> None:
        """Enqueue the network; see `BoundNetwork`."""
        try:
            self.session.run_with_iobinding(self.binding, self.options)
        except Exception as error:  # the library raises unrelated types
            raise _failed(error) from error

    def release(self) -> None:
        """Give stream and memory back."""
        self.binding.clear_binding_inputs()
        self.binding.clear_binding_outputs()
        self.image.free()
        self.logits.free()
        self.stream.close()


@dataclass(frozen=True)
class CudaRunner:
    """A network on the GPU; satisfies `DeviceRunner`. `host`: the session that takes arrays of the host."""

    host: OnnxRunner
    network: bytes
    device: Device
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
        try:
            settings = {**SETTINGS, "user_compute_stream": str(stream.handle)}
            session = open_session(self.network, PROVIDER, settings=settings if PLACE == "cuda" else {})
            dtype = self.batch_dtype
            output_shape = (shape[0], 1, *shape[2:])
            for one in (shape, output_shape):
                taken.append(self.device.device_memory(math.prod(one) * dtype.itemsize))
            binding = session.io_binding()
            binding.bind_input(INPUT_NAME, PLACE, 0, dtype.type, shape, taken[0].address)
            name = session.get_outputs()[0].name
            binding.bind_output(name, PLACE, 0, dtype.type, output_shape, taken[1].address)
        except BaseException:
            for memory in taken:
                memory.free()
            stream.close()
            raise
        options = ort.RunOptions()
        # Whoever takes the result waits for the stream; the library need not.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return BoundSession(stream, taken[0], taken[1], shape, session, binding, options)

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
    host = runner_of(open_session(network, PROVIDER, settings=SETTINGS), "GPU 0")
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
