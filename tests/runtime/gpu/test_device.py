"""What the seam promises, on every adapter: NumPy's and a PyCUDA over it everywhere, the others on a GPU.

test_fake_driver.py runs all of it once more through cuda.core itself, over a driver of our own.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu.device import Argument, Device, DeviceMemory, HostMemory, Module, Stream
from dmn_runtime.gpu.fatbin import read_fatbin

MAGIC = b"\x50\xed\x55\xba\x01\x00\x10\x00"
HEIGHT, WIDTH = 4, 16
PIXELS = HEIGHT * WIDTH
# One tile, which is the volume (docs/kernels.md).
HEADER = [0, 0, 0, 1, HEIGHT, WIDTH, 1, HEIGHT, WIDTH, WIDTH, 1, HEIGHT, WIDTH, 1, 0, 0]
SHEET = np.array([*HEADER, 0, 0, 0, 0, 0, HEIGHT, WIDTH, 0, 0, 0], np.int32)
TABLE = np.linspace(-1, 1, 256, dtype=np.float32)


@dataclass(frozen=True)
class Gathering:
    """What it takes to turn 64 voxels into 64 numbers, on one stream."""

    stream: Stream
    module: Module
    voxels: HostMemory
    numbers: HostMemory
    patch: DeviceMemory
    batch: DeviceMemory
    fixed: tuple[DeviceMemory, DeviceMemory]

    def enqueue(self) -> None:
        """Enqueue voxels up, gather, numbers down."""
        self.stream.upload(self.voxels, self.patch, PIXELS)
        sheet, table = self.fixed
        addresses = [np.uint64(each.address) for each in (self.patch, sheet, table, self.batch)]
        sizes: list[Argument] = [np.int32(each) for each in (1, 1, HEIGHT, WIDTH)]
        kernel = self.module.kernel("dmn_gather_u8_f32_nchw")
        self.stream.launch(kernel, (1, 1, 1), (32, 2, 1), [*addresses, *sizes])
        self.stream.download(self.batch, self.numbers, 4 * PIXELS)

    def result(self) -> NDArray[np.float32]:
        self.stream.synchronise()
        return self.numbers.data.view(np.float32).copy()

    def close(self) -> None:
        for memory in (self.voxels, self.numbers, self.patch, self.batch, *self.fixed):
            memory.free()
        self.module.close()
        self.stream.close()


def gathering(device: Device) -> Gathering:
    stream = device.stream()
    fixed = (sent(device, stream, SHEET), sent(device, stream, TABLE))
    return Gathering(
        stream=stream,
        module=device.load(fatbin()),
        voxels=device.host_memory(PIXELS),
        numbers=device.host_memory(4 * PIXELS),
        patch=device.device_memory(PIXELS),
        batch=device.device_memory(4 * PIXELS),
        fixed=fixed,
    )


def fatbin() -> bytes:
    """Return the kernels for a GPU; where they were not built there is none, and the fakes want no more."""
    try:
        return read_fatbin()
    except EngineError:
        return MAGIC


def sent(device: Device, stream: Stream, array: NDArray[Any]) -> DeviceMemory:
    """Return memory on the device with the bytes of `array`."""
    host, memory = device.host_memory(array.nbytes), device.device_memory(array.nbytes)
    host.data[:] = array.reshape(-1).view(np.uint8)
    stream.upload(host, memory, array.nbytes)
    stream.synchronise()
    host.free()
    return memory


def some_voxels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, PIXELS, np.uint8)


# ---- memory and copies


def test_says_what_it_is(device: Device) -> None:
    assert device.description.endswith(f", {device.compute_capability}")
    major, _, minor = device.compute_capability.partition(".")
    assert major.isdigit()
    assert minor.isdigit()
    assert len(device.uuid.removeprefix("GPU-")) == 36


def test_bytes_come_back(device: Device) -> None:
    stream = device.stream()
    there, back = device.host_memory(1000), device.host_memory(1000)
    memory = device.device_memory(1000)
    there.data[:] = np.arange(1000) % 251
    back.data[:] = 7
    stream.upload(there, memory, 1000)
    stream.download(memory, back, 1000)
    stream.synchronise()
    np.testing.assert_array_equal(back.data, np.arange(1000) % 251)
    for each in (there, back, memory):
        each.free()
    stream.close()


def test_a_copy_takes_the_first_bytes_alone(device: Device) -> None:
    stream = device.stream()
    memory = sent(device, stream, np.full(128, 3, np.uint8))
    there, back = device.host_memory(96), device.host_memory(112)
    there.data[:] = 1
    back.data[:] = 2
    stream.upload(there, memory, 64)
    stream.download(memory, back, 80)
    stream.synchronise()
    np.testing.assert_array_equal(back.data, [1] * 64 + [3] * 16 + [2] * 32)


@pytest.mark.parametrize(("host", "gpu"), [(63, 64), (64, 63)])
def test_a_copy_beyond_the_end_is_refused(device: Device, host: int, gpu: int) -> None:
    stream, near, far = device.stream(), device.host_memory(host), device.device_memory(gpu)
    with pytest.raises(ValueError, match="a copy of 64 bytes"):
        stream.upload(near, far, 64)
    with pytest.raises(ValueError, match="a copy of 64 bytes"):
        stream.download(far, near, 64)


def test_memory_is_aligned_and_apart(device: Device) -> None:
    blocks = sorted((device.device_memory(n) for n in (1, 300, 77)), key=lambda block: block.address)
    assert [block.address % 256 for block in blocks] == [0, 0, 0]
    assert all(a.address + a.nbytes <= b.address for a, b in itertools.pairwise(blocks))


def test_what_is_given_back_twice_is_given_back_once(device: Device) -> None:
    for memory in (device.device_memory(10), device.host_memory(10)):
        memory.free()
        memory.free()
    stream = device.stream()
    mark = stream.mark()
    stream.synchronise()
    for each in (mark, device.load(fatbin()), stream):
        each.close()
        each.close()


def test_taken_memory_is_not_free(device: Device) -> None:
    before = device.free_bytes()
    memory = device.device_memory(1 << 24)
    assert device.free_bytes() <= before - (1 << 24)
    memory.free()


@pytest.mark.parametrize("take", [Device.device_memory, Device.host_memory], ids=["device", "host"])
def test_more_memory_than_there_is(device: Device, take: Callable[[Device, int], Any]) -> None:
    name = take.__name__
    with pytest.raises(GpuMemoryError, match=str(1 << 50)):
        getattr(device, name)(1 << 50)
    getattr(device, name)(1 << 10).free()


# ---- kernels and marks


def test_a_kernel_runs(device: Device) -> None:
    gather = gathering(device)
    for seed in range(2):
        gather.voxels.data[:] = voxels = some_voxels(seed)
        gather.enqueue()
        np.testing.assert_array_equal(gather.result(), TABLE[voxels])
    gather.close()


def test_every_kind_of_argument_arrives(device: Device) -> None:
    """Scatter takes an integer between addresses and a null address."""
    stream, module = device.stream(), device.load(fatbin())
    logits = np.linspace(-6, 6, PIXELS, dtype=np.float32)
    memory = [sent(device, stream, each) for each in (logits, SHEET, np.zeros(PIXELS, np.uint8))]
    far, sheet, grey = (np.uint64(each.address) for each in memory)
    sizes = [np.int32(each) for each in (1, 1, HEIGHT, WIDTH, 128)]
    kernel = module.kernel("dmn_scatter_f32_nchw")
    assert kernel.name == "dmn_scatter_f32_nchw"
    stream.launch(kernel, (1, 1, 1), (64, 1, 1), [far, sheet, *sizes, grey, np.uint64(0)])
    back = device.host_memory(PIXELS)
    stream.download(memory[2], back, PIXELS)
    stream.synchronise()
    wanted = np.floor(255 / (1 + np.exp(-logits)) + 0.5)
    np.testing.assert_allclose(back.data, wanted, atol=1)


def test_a_kernel_that_is_not_there(device: Device) -> None:
    module = device.load(fatbin())
    with pytest.raises(EngineError, match="dmn_nothing"):
        module.kernel("dmn_nothing")
    module.close()


def test_what_is_no_module(device: Device) -> None:
    with pytest.raises(EngineError, match="the kernels cannot be loaded, since"):
        device.load(b"no module at all".ljust(64))


def test_a_launch_that_no_gpu_takes(device: Device) -> None:
    gather = gathering(device)
    kernel = gather.module.kernel("dmn_gather_u8_f32_nchw")
    nothing: list[Argument] = [np.uint64(gather.patch.address)] * 4 + [np.int32(0)] * 4
    with pytest.raises(EngineError, match="the kernel dmn_gather_u8_f32_nchw cannot be launched"):
        gather.stream.launch(kernel, (1, 1, 1), (2048, 1, 1), nothing)


def test_marks_tell_the_time_between_them(device: Device) -> None:
    gather = gathering(device)
    gather.voxels.data[:] = some_voxels(0)
    first = gather.stream.mark()
    gather.enqueue()
    second = gather.stream.mark()
    gather.stream.synchronise()
    assert 0 < second.seconds_since(first) < 10
    first.close()
    second.close()


# ---- graphs


def test_a_graph_reads_what_lies_there_when_it_runs(device: Device) -> None:
    gather = gathering(device)
    if not device.has_graphs:
        with pytest.raises(EngineError, match="graph"):
            gather.stream.capturing()
        return
    gather.voxels.data[:] = voxels = some_voxels(0)
    gather.enqueue()
    np.testing.assert_array_equal(gather.result(), TABLE[voxels])
    with gather.stream.capturing() as capture:
        gather.enqueue()
    gather.numbers.data[:] = 0
    np.testing.assert_array_equal(gather.result(), 0)  # captured, not done
    for seed in (1, 2):
        gather.voxels.data[:] = voxels = some_voxels(seed)
        capture.graph.launch(gather.stream)
        np.testing.assert_array_equal(gather.result(), TABLE[voxels])
    capture.graph.close()
    capture.graph.close()
    gather.close()


def test_a_graph_runs_on_another_stream(device: Device) -> None:
    if not device.has_graphs:
        pytest.skip("this adapter has no graphs")
    gather, other = gathering(device), device.stream()
    gather.voxels.data[:] = voxels = some_voxels(3)
    with gather.stream.capturing() as capture:
        gather.enqueue()
    capture.graph.launch(other)
    other.synchronise()
    np.testing.assert_array_equal(gather.result(), TABLE[voxels])


def test_a_capture_that_breaks_off_leaves_the_stream_usable(device: Device) -> None:
    if not device.has_graphs:
        pytest.skip("this adapter has no graphs")
    gather = gathering(device)
    gather.voxels.data[:] = voxels = some_voxels(4)
    with pytest.raises(ValueError, match="has not ended"), gather.stream.capturing() as capture:
        assert capture.graph
    gather.enqueue()
    np.testing.assert_array_equal(gather.result(), TABLE[voxels])


# ---- streams and threads


def test_streams_are_their_own_and_not_the_default(device: Device) -> None:
    first, second = device.stream(), device.stream()
    assert first.handle != second.handle
    assert min(first.handle, second.handle) > 2  # 0, 1 and 2 are CUDA's names for default streams


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_several_threads_work_at_once(device: Device) -> None:
    right = []

    def work(seed: int) -> None:
        device.make_current()
        device.make_current()
        gather = gathering(device)
        for step in range(10):
            gather.voxels.data[:] = voxels = some_voxels(100 * seed + step)
            gather.enqueue()
            right.append(bool((gather.result() == TABLE[voxels]).all()))
        gather.close()

    for thread in [in_thread(lambda seed=seed: work(seed)) for seed in range(4)]:  # type: ignore[misc]
        thread.join()
    assert right == [True] * 40


def test_another_thread_may_give_back(device: Device) -> None:
    gather, before = gathering(device), []

    def work() -> None:
        device.make_current()
        gather.close()
        before.append(device.free_bytes())

    in_thread(work).join()
    assert len(before) == 1
