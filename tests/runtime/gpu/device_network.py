"""A network on the fake device: ONNX Runtime's answers, written late and in the stream's order."""

import ctypes
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

from dmn_runtime.errors import EngineError


@dataclass
class FakeBound:
    runner: "FakeDeviceRunner"
    stream: Any
    image: Any
    logits: Any
    shape: tuple[int, int, int, int]
    capturable: bool
    calls: int = 0
    released: bool = False

    def enqueue(self) -> None:
        self.calls += 1
        if self.runner.fail_at == self.calls:
            raise EngineError("the library refuses")
        image, logits = self.image.address, self.logits.address

        def work() -> None:
            dtype = self.runner.batch_dtype
            batch = np.nan_to_num(at(image, self.shape, dtype).astype(np.float32), posinf=0, neginf=0)
            [answer] = self.runner.session.run(None, {"image": batch})
            with np.errstate(over="ignore"):
                at(logits, answer.shape, dtype)[:] = answer.astype(dtype)

        self.stream.enqueue(work, reads=(image,), writes=(logits,), what="network")

    def release(self) -> None:
        if not self.released:
            self.released = True
            self.image.free()
            self.logits.free()
            self.stream.close()


@dataclass
class FakeDeviceRunner:
    """Satisfies `DeviceRunner`."""

    device: Any
    network: bytes
    batch_dtype: Any = field(default_factory=lambda: np.dtype(np.float32))
    fixed_shape: tuple[int, int, int, int] | None = None
    most_bound: int = 3
    capturable: bool = True
    description: str = "a fake, NumPy"
    fail_at: int = 0
    bound: list[FakeBound] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = onnxruntime.InferenceSession(self.network, providers=["CPUExecutionProvider"])

    def run(self, tiles: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.session.run(None, {"image": tiles})[0]
        return logits

    def bind(self, shape: tuple[int, int, int, int]) -> FakeBound:
        size = self.batch_dtype.itemsize
        stream = self.device.stream()
        taken: list[Any] = []
        try:
            for channels in (shape[1], 1):
                taken.append(self.device.device_memory(shape[0] * channels * math.prod(shape[2:]) * size))
        except BaseException:
            for memory in taken:
                memory.free()
            stream.close()
            raise
        self.bound.append(FakeBound(self, stream, *taken, shape, self.capturable))
        return self.bound[-1]

    def close(self) -> None: ...


def at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).view(dtype).reshape(shape)
