"""The cuda.core adapter without a GPU: its calls against a recorder, and the recorder against the library."""

import itertools
import sys
from collections.abc import Callable
from enum import Enum, IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from dmn_runtime.errors import EngineError, GpuMemoryError, MissingExtra
from dmn_runtime.gpu import cuda_core
from dmn_runtime.gpu.cuda_core import CudaDevice, Driver, open_cuda_device

CALLS = {
    "cuEventCreate": (1, 1),
    "cuEventDestroy": (1, 0),
    "cuEventElapsedTime": (2, 1),
    "cuEventRecord": (2, 0),
    "cuGraphDestroy": (1, 0),
    "cuGraphExecDestroy": (1, 0),
    "cuGraphInstantiate": (2, 1),
    "cuGraphLaunch": (2, 0),
    "cuLaunchKernel": (11, 0),
    "cuMemAlloc": (1, 1),
    "cuMemFree": (1, 0),
    "cuMemFreeHost": (1, 0),
    "cuMemGetInfo": (0, 2),
    "cuMemHostAlloc": (2, 1),
    "cuMemcpyDtoHAsync": (4, 0),
    "cuMemcpyHtoDAsync": (4, 0),
    "cuModuleGetFunction": (2, 1),
    "cuModuleLoadData": (1, 1),
    "cuModuleUnload": (1, 0),
    "cuStreamBeginCapture": (2, 0),
    "cuStreamCreate": (1, 1),
    "cuStreamDestroy": (1, 0),
    "cuStreamEndCapture": (1, 1),
    "cuStreamSynchronize": (1, 0),
}
"""Function of cuda.bindings.driver -> how many arguments it takes and values it gives beside its status."""


class Status(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class Mode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class Flags(IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class Recorder:
    """A driver that writes down its calls, gives new handles, and refuses what it is told to."""

    CUresult, CUstreamCaptureMode, CUstream_flags = Status, Mode, Flags

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refuses: dict[str, Status] = {}
        self.handles = itertools.count(4096, 256)
        self.held: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        taken, given = CALLS[name]

        def call(*arguments: Any) -> tuple[Any, ...]:
            assert len(arguments) == taken, name
            self.calls.append((name, *arguments))
            if name in self.refuses:
                return (self.refuses[name], *[None] * given)
            return (Status.CUDA_SUCCESS, *(next(self.handles) for _ in range(given)))

        return call

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]


@pytest.fixture
def driver() -> Recorder:
    return Recorder()


@pytest.fixture
def device(driver: Recorder) -> CudaDevice:
    gpu = SimpleNamespace(set_current=lambda: None)
    return CudaDevice(Driver(driver), lambda: gpu, "A GPU, 8.6", "8.6", "5f1e")


@pytest.mark.parametrize("name", CALLS)
def test_the_library_has_the_function_and_its_form(name: str) -> None:
    driver = pytest.importorskip(
        "cuda.bindings.driver", reason="cuda-bindings is not installed: pip install it"
    )
    words = getattr(driver, name).__doc__
    head = words.partition("\n")[0]
    inside = head.partition("(")[2].rpartition(")")[0]
    taken = len([word for word in inside.split(", ") if word])
    results = words.partition("Returns\n-------\n")[2].partition("\n\nSee Also")[0].splitlines()
    given = len([line for line in results if " : " in line and not line.startswith(" ")])
    assert (taken, given) == CALLS[name], head


def test_the_library_has_the_names() -> None:
    driver = pytest.importorskip(
        "cuda.bindings.driver", reason="cuda-bindings is not installed: pip install it"
    )
    assert driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL == 1
    assert int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING) == 1
    assert driver.CUresult.CUDA_SUCCESS == 0
    assert driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY.name == "CUDA_ERROR_OUT_OF_MEMORY"


def test_a_machine_without_a_driver_is_told_so() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is not installed: pip install it")
    try:
        open_cuda_device()
    except EngineError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(error).startswith("GPU 0 cannot be opened, since ")  # noqa: PT017


def test_each_call_of_a_life(device: CudaDevice, driver: Recorder) -> None:
    stream, memory, host = device.stream(), device.device_memory(64), device.host_memory(64)
    module = device.load(b"image")
    kernel = module.kernel("dmn_gather")
    arguments = (np.uint64(2**63), np.int32(-2), np.int64(2**40), np.float32(0.5))
    stream.launch(kernel, (4, 3, 2), (32, 8, 1), arguments)
    first, second = stream.mark(), stream.mark()
    stream.synchronise()
    second.seconds_since(first)
    for each in (first, second, module, stream):
        each.close()
    for held in (memory, host):
        held.free()
    assert driver.names == [
        *("cuStreamCreate", "cuMemAlloc", "cuMemHostAlloc", "cuModuleLoadData", "cuModuleGetFunction"),
        *("cuLaunchKernel", "cuEventCreate", "cuEventRecord", "cuEventCreate", "cuEventRecord"),
        *("cuStreamSynchronize", "cuEventElapsedTime", "cuEventDestroy", "cuEventDestroy"),
        *("cuModuleUnload", "cuStreamDestroy", "cuMemFree", "cuMemFreeHost"),
    ]
    assert driver.calls[0] == ("cuStreamCreate", 1)
    assert driver.calls[3] == ("cuModuleLoadData", b"image")
    assert driver.calls[4][2] == b"dmn_gather"
    _, function, *geometry, shared, handle, packed, extra = driver.calls[5]
    assert (function, handle) == (kernel.function, stream.handle)
    assert (geometry, shared, extra) == ([4, 3, 2, 32, 8, 1], 0, 0)
    assert packed[0] == (2**63, -2, 2**40, 0.5)
    assert [(np.dtype(kind).kind, np.dtype(kind).itemsize) for kind in packed[1]] == [
        *(("u", 8), ("i", 4), ("i", 8), ("f", 4)),
    ]
    assert driver.calls[11] == ("cuEventElapsedTime", first_event(driver, 0), first_event(driver, 1))
    assert driver.calls[-2:] == [("cuMemFree", memory.address), ("cuMemFreeHost", host.address)]


def first_event(driver: Recorder, index: int) -> Any:
    return [call[1] for call in driver.calls if call[0] == "cuEventRecord"][index]


def test_time_is_in_seconds(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    first, second = stream.mark(), stream.mark()
    driver.handles = itertools.count(1500)
    assert second.seconds_since(first) == 1.5


def test_free_bytes_is_the_first_figure(device: CudaDevice, driver: Recorder) -> None:
    driver.handles = itertools.count(77)
    assert device.free_bytes() == 77


def test_a_number_of_unknown_size_is_no_argument(device: CudaDevice) -> None:
    stream, kernel = device.stream(), device.load(b"image").kernel("k")
    with pytest.raises(TypeError, match="fixed size"):
        stream.launch(kernel, (1, 1, 1), (1, 1, 1), (3,))  # type: ignore[arg-type]


def test_all_is_given_back_once(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    with stream.capturing() as capture:
        pass
    things = [stream, device.load(b"image"), stream.mark(), capture.graph]
    for _ in range(2):
        for thing in things:
            thing.close()
    memory, host = device.device_memory(1), device.host_memory(1)
    for _ in range(2):
        memory.free()
        host.free()
    releases = [name for name in driver.names if "Destroy" in name or "Free" in name or "Unload" in name]
    assert sorted(releases) == [
        *("cuEventDestroy", "cuGraphDestroy", "cuGraphExecDestroy", "cuMemFree", "cuMemFreeHost"),
        *("cuModuleUnload", "cuStreamDestroy"),
    ]


def test_what_was_given_back_is_not_used(device: CudaDevice) -> None:
    stream, host, module = device.stream(), device.host_memory(8), device.load(b"image")
    with stream.capturing() as capture:
        pass
    graph = capture.graph
    host.free()
    module.close()
    graph.close()
    with pytest.raises(ValueError, match="memory was given back"):
        stream.upload(host, device.device_memory(8), 8)
    with pytest.raises(ValueError, match="module was given back"):
        module.kernel("k")
    with pytest.raises(ValueError, match="graph was given back"):
        graph.launch(stream)


def test_a_capture_becomes_a_graph(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    with stream.capturing() as capture:
        with pytest.raises(ValueError, match="has not ended"):
            _ = capture.graph
        assert driver.calls[-1] == ("cuStreamBeginCapture", stream.handle, 1)
    capture.graph.launch(stream)
    assert driver.names[1:] == [
        *("cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy"),
        "cuGraphLaunch",
    ]
    _, graph, flags = driver.calls[3]
    assert driver.calls[4] == ("cuGraphDestroy", graph)
    assert flags == 0
    assert driver.calls[5][2] == stream.handle
    assert driver.calls[5][1] != graph


def test_a_capture_whose_work_fails_is_ended(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    with pytest.raises(KeyError), stream.capturing():
        raise KeyError("mine")
    assert driver.names[1:] == ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphDestroy"]


def test_a_capture_that_was_spoiled_is_ended(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    driver.refuses["cuStreamEndCapture"] = Status.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    with pytest.raises(EngineError, match=r"cannot be captured in a graph.*INVALIDATED"), stream.capturing():
        pass
    with pytest.raises(KeyError), stream.capturing():
        raise KeyError("mine")
    assert driver.names[1:] == ["cuStreamBeginCapture", "cuStreamEndCapture"] * 2


def test_a_graph_that_cannot_be_instantiated_is_given_back(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    driver.refuses["cuGraphInstantiate"] = Status.CUDA_ERROR_OUT_OF_MEMORY
    with pytest.raises(GpuMemoryError), stream.capturing() as capture:
        pass
    assert driver.names[-2:] == ["cuGraphInstantiate", "cuGraphDestroy"]
    with pytest.raises(ValueError, match="has not ended"):
        _ = capture.graph


def test_a_mark_that_cannot_be_recorded_is_given_back(device: CudaDevice, driver: Recorder) -> None:
    stream = device.stream()
    driver.refuses["cuEventRecord"] = Status.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(EngineError, match="the GPU gives no mark"):
        stream.mark()
    assert driver.names[1:] == ["cuEventCreate", "cuEventRecord", "cuEventDestroy"]


REFUSED: dict[str, Callable[[CudaDevice], Any]] = {
    "cuMemAlloc": lambda device: device.device_memory(8),
    "cuMemHostAlloc": lambda device: device.host_memory(8),
    "cuMemGetInfo": lambda device: device.free_bytes(),
    "cuModuleLoadData": lambda device: device.load(b"image"),
    "cuModuleGetFunction": lambda device: device.load(b"image").kernel("k"),
    "cuStreamCreate": lambda device: device.stream(),
    "cuStreamSynchronize": lambda device: device.stream().synchronise(),
    "cuEventCreate": lambda device: device.stream().mark(),
    "cuLaunchKernel": lambda device: device.stream().launch(
        device.load(b"image").kernel("k"), (1, 1, 1), (1, 1, 1), ()
    ),
    "cuStreamBeginCapture": lambda device: device.stream().capturing().__enter__(),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("status", [Status.CUDA_ERROR_OUT_OF_MEMORY, Status.CUDA_ERROR_ILLEGAL_ADDRESS])
def test_a_refusal_is_told(device: CudaDevice, driver: Recorder, name: str, status: Status) -> None:
    driver.refuses[name] = status
    with pytest.raises(EngineError, match=rf", since .*\({status.name}\): ") as raised:
        REFUSED[name](device)
    assert isinstance(raised.value, GpuMemoryError) == (status is Status.CUDA_ERROR_OUT_OF_MEMORY)


@pytest.mark.parametrize("name", ["cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuGraphLaunch"])
def test_a_refusal_to_copy_or_replay_is_told(device: CudaDevice, driver: Recorder, name: str) -> None:
    stream, memory = device.stream(), device.device_memory(8)
    with stream.capturing() as capture:
        pass
    driver.refuses[name] = Status.CUDA_ERROR_ILLEGAL_ADDRESS
    host: Any = SimpleNamespace(data=np.zeros(8, np.uint8))
    refused: dict[str, Callable[[], None]] = {
        "cuGraphLaunch": lambda: capture.graph.launch(stream),
        "cuMemcpyHtoDAsync": lambda: stream.upload(host, memory, 8),
        "cuMemcpyDtoHAsync": lambda: stream.download(memory, host, 8),
    }
    with pytest.raises(EngineError, match="ILLEGAL_ADDRESS"):
        refused[name]()


def test_giving_back_on_a_broken_gpu_is_silent(device: CudaDevice, driver: Recorder) -> None:
    stream, memory = device.stream(), device.device_memory(8)
    driver.refuses |= dict.fromkeys(("cuMemFree", "cuStreamDestroy"), Status.CUDA_ERROR_ILLEGAL_ADDRESS)
    memory.free()
    stream.close()


def test_copies_name_both_sides(device: CudaDevice, driver: Recorder) -> None:
    stream, memory = device.stream(), device.device_memory(16)
    host: Any = SimpleNamespace(data=np.zeros(12, np.uint8))
    stream.upload(host, memory, 8)
    stream.download(memory, host, 4)
    near = host.data.ctypes.data
    assert driver.calls[-2:] == [
        ("cuMemcpyHtoDAsync", memory.address, near, 8, stream.handle),
        ("cuMemcpyDtoHAsync", near, memory.address, 4, stream.handle),
    ]


# ---- opening


def test_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmn_runtime.extras.is_present", lambda name: False)
    with pytest.raises(MissingExtra, match=r"to use the GPU, cuda.core, cuda.bindings .*dmn-em\[gpu\]"):
        open_cuda_device()


def install(monkeypatch: pytest.MonkeyPatch, make: Callable[[int], Any]) -> None:
    """Put a cuda.core in place whose devices are made by `make`."""
    monkeypatch.setattr(cuda_core, "require", lambda *names, to: None)
    cuda, core, bindings = ModuleType("cuda"), ModuleType("cuda.core"), ModuleType("cuda.bindings")
    core.Device = make  # type: ignore[attr-defined]
    bindings.driver = Recorder()  # type: ignore[attr-defined]
    cuda.core, cuda.bindings = core, bindings  # type: ignore[attr-defined]
    for module in (cuda, core, bindings):
        monkeypatch.setitem(sys.modules, module.__name__, module)


class _CudaError(Exception):
    __module__ = "cuda.core._utils.cuda_utils"


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, _CudaError])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("CUDA_ERROR_NO_DEVICE: no\nGPU", r"since the driver finds no GPU \(CUDA_ERROR_NO_DEVICE\): look at"),
        ('"cuda" is an NVIDIA driver library and', "since no NVIDIA driver was found: install it"),
        ("never\nheard of", r"\(never heard of\): see what nvidia-smi says"),
    ],
)
def test_says_that_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], said: str, told: str
) -> None:
    def refuse(ordinal: int) -> NoReturn:
        raise kind(said)

    install(monkeypatch, refuse)
    with pytest.raises(EngineError, match=f"^GPU 0 cannot be opened.*{told}"):
        open_cuda_device()


def test_a_bug_of_ours_is_not_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(ordinal: int) -> NoReturn:
        raise KeyError(ordinal)

    install(monkeypatch, break_down)
    with pytest.raises(KeyError):
        open_cuda_device()


def test_opens_and_is_current_in_each_thread_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(ordinal: int) -> Any:
        made.append(ordinal)
        return SimpleNamespace(
            name="NVIDIA RTX A4000",
            compute_capability=(8, 6),
            uuid="5f1e0c2a",
            set_current=lambda: made.append("current"),
        )

    install(monkeypatch, make)
    device = open_cuda_device(2)
    assert made == [2, "current"]
    device.make_current()
    assert made == [2, "current", 2, "current"]
    told = (device.description, device.compute_capability, device.uuid, device.has_graphs)
    assert told == ("NVIDIA RTX A4000, 8.6", "8.6", "5f1e0c2a", True)
