"""The network bound to our stream and buffers, with ONNX Runtime's CPU in the place of its CUDA."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from by_file import imported
from dmn_runtime.engines import cuda
from dmn_runtime.engines.cuda import SETTINGS, CudaRunner, Place, open_cuda
from dmn_runtime.engines.onnx_session import CPU, open_session, runner_of
from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu import open as opening
from dmn_runtime.gpu.network import DeviceRunner
from dmn_runtime.plan import Footprint

HOST = Place(CPU, "cpu", lambda _: {})
"""ONNX Runtime's CPU in the place of its CUDA; our buffers on the fake device are the host's memory."""


@pytest.fixture
def device() -> Any:
    device = imported(Path(__file__).parents[1] / "gpu" / "numpy_device.py").NumpyDevice()
    device.make_current()
    return device


@pytest.fixture
def network(small_network: Callable[[int], tuple[bytes, Footprint]]) -> bytes:
    return small_network(1)[0]


@pytest.fixture
def runner(device: Any, network: bytes) -> CudaRunner:
    return CudaRunner(runner_of(open_session(network, CPU), "GPU 0"), network, device, HOST)


def test_it_is_a_device_runner_and_the_plain_session_is_none(runner: CudaRunner) -> None:
    assert isinstance(runner, DeviceRunner)
    assert not isinstance(runner.host, DeviceRunner)
    assert runner.batch_dtype == np.float32


def test_what_lies_in_the_buffers_is_computed(device: Any, runner: CudaRunner, network: bytes) -> None:
    shape = (2, 3, 16, 24)
    bound = runner.bind(shape)
    tiles = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    device.memory_at(bound.image.address).data[:] = tiles.ravel().view(np.uint8)
    bound.enqueue()
    found = device.memory_at(bound.logits.address).data.view(np.float32).reshape(2, 1, 16, 24)
    [expected] = open_session(network, CPU).run(None, {"image": tiles})
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(runner.run(tiles), expected)
    bound.release()
    runner.close()
    device.check_empty()


def test_a_gpu_without_memory_for_the_buffers_keeps_nothing(device: Any, runner: CudaRunner) -> None:
    device.refusals["device_memory"] = [None, GpuMemoryError("full")]
    with pytest.raises(GpuMemoryError, match="full"):
        runner.bind((1, 3, 16, 16))
    device.check_empty()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDNN failure: Out of memory", GpuMemoryError),
        ("Failed to allocate memory for requested buffer of size 99", GpuMemoryError),
        ("CUDA failure 719: unspecified launch failure", EngineError),
    ],
)
def test_what_fails_on_the_gpu_is_one_sentence(
    runner: CudaRunner, words: str, kind: type[EngineError], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = runner.bind((1, 3, 16, 16))

    def fails(*_: object) -> None:
        raise Fail(words)

    monkeypatch.setattr(bound.session, "run_with_iobinding", fails)
    with pytest.raises(EngineError, match=words) as caught:
        bound.enqueue()
    assert type(caught.value) is kind
    bound.release()


def test_the_stream_reaches_the_library(device: Any, network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def session(given: bytes, provider: str, *, settings: dict[str, str]) -> ort.InferenceSession:
        asked.append((provider, settings))
        raise EngineError("enough")

    monkeypatch.setattr(cuda, "open_session", session)
    host = runner_of(open_session(network, CPU), "GPU 0")
    with pytest.raises(EngineError, match="enough"):
        CudaRunner(host, network, device).bind((1, 3, 16, 16))
    [(provider, settings)] = asked
    assert provider == "CUDAExecutionProvider"
    assert settings == {**SETTINGS, "user_compute_stream": str(device.handles)}
    device.check_empty()


def test_half_precision_is_bound_as_such(device: Any) -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Add", ["image", "image"], ["logits"])],
            "twice",
            *(
                [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, ["n", 1, "h", "w"])]
                for name in ("image", "logits")
            ),
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    half = model.SerializeToString()
    runner = CudaRunner(runner_of(open_session(half, CPU), "GPU 0"), half, device, HOST)
    assert runner.batch_dtype == np.float16
    bound = runner.bind((1, 1, 4, 4))
    tiles = np.arange(16, dtype=np.float16)
    device.memory_at(bound.image.address).data[:] = tiles.view(np.uint8)
    bound.enqueue()
    np.testing.assert_array_equal(device.memory_at(bound.logits.address).data.view(np.float16), 2 * tiles)
    bound.release()


def test_the_session_goes_before_the_memory_and_the_stream_that_it_uses(
    runner: CudaRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = runner.bind((1, 3, 16, 16))
    alive, seen = weakref.ref(bound.session), []

    def watched(what: str, give_back: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            seen.append((what, alive() is None))
            give_back()

        return call

    for name, what, method in [("image", bound.image, "free"), ("stream", bound.stream, "close")]:
        monkeypatch.setattr(what, method, watched(name, getattr(what, method)))
    bound.release()
    assert seen == [("image", True), ("stream", True)]


def test_a_second_release_does_nothing(device: Any, runner: CudaRunner) -> None:
    bound = runner.bind((1, 3, 16, 16))
    bound.release()
    bound.release()
    device.check_empty()


def opened_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let sessions on a GPU be such on the processor; return what was asked for."""
    asked: list[Any] = []

    def session(network: bytes, provider: str, *, settings: Any) -> ort.InferenceSession:
        asked.append((provider, dict(settings)))
        return open_session(network, CPU)

    monkeypatch.setattr(cuda, "open_session", session)
    return asked


def test_a_network_is_opened_on_the_first_gpu(
    device: Any, network: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = opened_on_the_processor(monkeypatch)
    monkeypatch.setattr(opening, "open_device", lambda: device)
    runner = open_cuda(network, print)
    assert isinstance(runner, CudaRunner)
    assert (runner.device, runner.network, runner.place) == (device, network, cuda.GPU)
    assert asked == [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})]


def test_without_the_seam_the_plain_session_serves_aloud(
    network: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Any:
        raise EngineError("there is no way to the GPU")

    opened_on_the_processor(monkeypatch)
    monkeypatch.setattr(opening, "open_device", absent)
    said: list[str] = []
    runner = open_cuda(network, said.append)
    assert not isinstance(runner, DeviceRunner)
    assert said == ["cuda: tiles are cut on the processor, which is slower: there is no way to the GPU"]
