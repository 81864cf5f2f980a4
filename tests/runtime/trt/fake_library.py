"""A double of TensorRT's running half: the same calls, the same refusals, ONNX Runtime underneath.

It enqueues on the NumPy device's streams, so a runner that forgets to wait, copies too early or hands over a
wrong address gets wrong numbers here as it would on a GPU.
"""

import ctypes
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

VERSION = "11.4.0.106"
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8}


def fake_plan(
    network: bytes, profile: Any, dtype: str = "FLOAT", contexts: int = 1, version: str = VERSION
) -> bytes:
    """Return a plan of the double: its settings as one line of JSON, then the ONNX file (float32)."""
    settings = {
        "version": version,
        "gpu": "8.6",
        "dtype": dtype,
        "shapes": [profile.least, profile.best, profile.most],
        "contexts": contexts,
    }
    return json.dumps(settings).encode() + b"\n" + network


class Logger:
    INTERNAL_ERROR, ERROR, WARNING = "INTERNAL_ERROR", "ERROR", "WARNING"

    def __init__(self) -> None:
        self.ready = True


@dataclass
class FakeContext:
    engine: "FakeEngine"
    profile: int = -1
    shape: tuple[int, ...] | None = None
    addresses: dict[str, int] = field(default_factory=dict)
    busy: bool = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if profile_index in self.engine.taken:
            self.engine.complain(f"profile {profile_index} is in use by another context")
            return False
        self.engine.taken.add(profile_index)
        self.profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.shapes
        if name != "image" or not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            self.engine.complain(f"shape {shape} does not satisfy any optimization profile")
            return False
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self.shape is not None
        return self.shape if name == "image" else (self.shape[0], self.engine.outputs, *self.shape[2:])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory % 256 == 0
        self.addresses[name] = memory
        return name in ("image", "logits")

    def execute_async_v3(self, stream_handle: int) -> bool:
        shape, addresses = self.get_tensor_shape("image"), dict(self.addresses)
        if self.engine.fail_next:
            self.engine.fail_next = False
            self.engine.complain("an illegal memory access was encountered")
            return False

        def work() -> None:
            tiles = _at(addresses["image"], shape, self.engine.dtype)
            [logits] = self.engine.session.run(None, {"image": tiles.astype(np.float32)})
            _at(addresses["logits"], logits.shape, self.engine.dtype)[:] = logits

        self.engine.device.streams[stream_handle].enqueue(work)
        return True


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).view(dtype).reshape(shape)


class FakeEngine:
    def __init__(self, device: Any, logger: Any, settings: dict[str, Any], network: bytes) -> None:
        self.device, self.logger = device, logger
        self.session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self.shapes = [tuple(shape) for shape in settings["shapes"]]
        self.kind, self.dtype = settings["dtype"], NUMPY[settings["dtype"]]
        self.outputs = self.session.get_outputs()[0].shape[1]
        self.num_optimization_profiles, self.num_io_tensors = settings["contexts"], 2
        self.taken: set[int] = set()
        self.fail_next = False
        self.contexts_left = settings.get("contexts_left", 99)

    def complain(self, words: str) -> None:
        self.logger.log(Logger.ERROR, words)

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> str:
        return {"image": "INPUT", "logits": "OUTPUT"}[name]

    def get_tensor_dtype(self, name: str) -> str:
        return self.kind

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert name == "image"
        assert 0 <= profile_index < self.num_optimization_profiles
        return self.shapes

    def create_execution_context(self) -> FakeContext | None:
        self.contexts_left -= 1
        return FakeContext(self) if self.contexts_left >= 0 else None


def fake_api(device: Any) -> Any:
    """Return the double of the module, whose plans run on `device`."""

    class Runtime:
        def __init__(self, logger: Any) -> None:
            assert logger.ready, "the logger's base was not initialised"
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> FakeEngine | None:
            head, _, network = serialized_engine.partition(b"\n")
            try:
                settings = json.loads(head)
            except ValueError:
                self.logger.log(Logger.ERROR, "Serialization assertion magicTag failed")
                return None
            if settings["version"] != VERSION:
                text = f"The engine plan file is not compatible, expecting library version {VERSION}"
                self.logger.log(Logger.ERROR, text)
                return None
            if settings["gpu"] != device.compute_capability:
                self.logger.log(Logger.ERROR, "The engine was generated on an incompatible device")
                return None
            return FakeEngine(device, self.logger, settings, network)

    names = {"FLOAT": "FLOAT", "HALF": "HALF"}
    return SimpleNamespace(
        __version__=VERSION,
        ILogger=Logger,
        Runtime=Runtime,
        DataType=SimpleNamespace(**names),
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
    )
