"""What the seam promises, on every adapter: the NumPy one everywhere, cuda.core where a GPU is."""

import itertools
import threading

import numpy as np
import pytest

from dmn_runtime.gpu.device import Device


def test_says_what_it_is(device: Device) -> None:
    assert device.description.endswith(f", {device.compute_capability}")
    major, _, minor = device.compute_capability.partition(".")
    assert major.isdigit()
    assert minor.isdigit()


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
    for each in (there, back, memory, stream):
        (each.free if hasattr(each, "free") else each.close)()


def test_a_copy_takes_the_first_bytes_alone(device: Device) -> None:
    stream = device.stream()
    there, back, memory = device.host_memory(64), device.host_memory(96), device.device_memory(128)
    there.data[:] = 1
    back.data[:] = 2
    stream.upload(there, memory, 64)
    stream.download(memory, back, 40)
    stream.synchronise()
    np.testing.assert_array_equal(back.data, [1] * 40 + [2] * 56)


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
    stream.close()
    stream.close()


def test_streams_are_their_own_and_not_the_default(device: Device) -> None:
    first, second = device.stream(), device.stream()
    assert first.handle != second.handle
    assert min(first.handle, second.handle) > 2  # 0, 1 and 2 are CUDA's names for default streams


def test_another_thread_may_work(device: Device) -> None:
    seen = []

    def work() -> None:
        device.make_current()
        stream, host, memory = device.stream(), device.host_memory(4), device.device_memory(4)
        host.data[:] = 5
        stream.upload(host, memory, 4)
        stream.synchronise()
        host.data[:] = 0
        stream.download(memory, host, 4)
        stream.synchronise()
        seen.extend(host.data.tolist())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [5, 5, 5, 5]
