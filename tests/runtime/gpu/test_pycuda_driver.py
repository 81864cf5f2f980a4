"""The PyCUDA adapter over a faithful double: contexts, threads, what it says when the GPU refuses."""

import gc
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dmn_runtime.errors import EngineError, GpuMemoryError, MissingExtra
from dmn_runtime.gpu import pycuda_driver
from dmn_runtime.gpu.pycuda_driver import open_pycuda_device

FATBIN = b"\x50\xed\x55\xba\x01\x00\x10\x00"


def in_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmn_runtime.extras.is_present", lambda name: False)
    with pytest.raises(MissingExtra, match=r"to use the GPU through PyCUDA, pycuda .*dmn-em\[pycuda\]"):
        open_pycuda_device()


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "pycuda.driver":
                raise ImportError("libcuda.so.1: cannot open shared object file: No such file or directory")

    package = ModuleType("pycuda")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    monkeypatch.setattr(pycuda_driver, "require", lambda *names, to: None)
    with pytest.raises(EngineError, match="GPU 0 cannot be opened, since no NVIDIA driver was found"):
        open_pycuda_device()


def test_a_gpu_that_is_not_there(fake_pycuda: Any) -> None:
    with pytest.raises(EngineError, match=r"GPU 1 cannot be opened, since there is no GPU of that number"):
        open_pycuda_device(1)


def test_what_it_is(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    told = (device.description, device.compute_capability, device.has_graphs)
    assert told == ("NumPy, 8.6", "8.6", False)


def test_one_context_however_often_it_is_opened(fake_pycuda: Any) -> None:
    first = open_pycuda_device()
    assert open_pycuda_device() is first
    seen = []
    in_thread(lambda: seen.append(open_pycuda_device()))
    assert seen == [first]
    first.make_current()
    assert fake_pycuda.stacks.mine() == [first.context]


def test_a_thread_that_ends_leaves_no_context(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    in_thread(device.make_current)
    gc.collect()
    assert [stack for stack in fake_pycuda.stacks.of.values() if stack] == [[device.context]]
    device.leave()
    device.leave()
    assert not any(fake_pycuda.stacks.of.values())
    device.make_current()


def test_the_end_of_the_program(fake_pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(pycuda_driver.atexit, "register", lambda *call: registered.append(call))
    device = open_pycuda_device()
    open_pycuda_device()
    [(function, *arguments)] = registered
    function(*arguments)
    assert not device.context.valid
    assert not any(fake_pycuda.stacks.of.values())
    pycuda_driver._OPENED.clear()


def test_a_thread_without_the_context_is_told(fake_pycuda: Any) -> None:
    device, seen = open_pycuda_device(), []

    def work() -> None:
        try:
            device.stream()
        except EngineError as error:
            seen.append(str(error))

    in_thread(work)
    assert len(seen) == 1
    assert seen[0].startswith("the GPU gives no stream, since this thread has not made the GPU its own (CUDA")


def test_what_was_given_back_is_gone_at_once(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    below = fake_pycuda.below
    stream, module = device.stream(), device.load(FATBIN)
    below.kernels = {"k": lambda grid, block, arguments: None}
    kernel, mark = module.kernel("k"), stream.mark()
    assert module.kernel("k") == kernel
    stream.synchronise()
    memory, host = device.device_memory(8), device.host_memory(8)
    for each in (mark, module, stream):
        each.close()
    for held in (memory, host):
        held.free()
    assert kernel.name == "k"  # a kernel that is kept keeps no module
    below.check_empty()
    with pytest.raises(ValueError, match="module was given back"):
        module.kernel("k")
    with pytest.raises(ValueError, match="memory was given back"):
        _ = host.data


def test_a_kernel_outlives_its_module_and_says_so(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    fake_pycuda.below.kernels = {"k": lambda grid, block, arguments: None}
    stream, module = device.stream(), device.load(FATBIN)
    kernel = module.kernel("k")
    module.close()
    with pytest.raises(ValueError, match="module was given back"):
        stream.launch(kernel, (1, 1, 1), (1, 1, 1), ())


def test_a_launch_passes_geometry_and_arguments_on(fake_pycuda: Any) -> None:
    device, seen = open_pycuda_device(), []
    fake_pycuda.below.kernels = {"k": lambda *call: seen.append(call)}
    stream, kernel = device.stream(), device.load(FATBIN).kernel("k")
    arguments = (np.int32(1), np.float32(0.5), np.int64(-1))
    stream.launch(kernel, (4, 3, 2), (8, 2, 1), arguments)
    stream.synchronise()
    assert seen == [((4, 3, 2), (8, 2, 1), arguments)]


def test_memory_that_is_short(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    fake_pycuda.below.refusals["host_memory"] = [GpuMemoryError("no")]
    fake_pycuda.below.refusals["device_memory"] = [GpuMemoryError("no")]
    with pytest.raises(GpuMemoryError, match=r"the computer gives no 64 bytes .*OUT_OF_MEMORY"):
        device.host_memory(64)
    with pytest.raises(GpuMemoryError, match="the GPU gives no 64 bytes, since there is not enough memory"):
        device.device_memory(64)
    assert device.free_bytes() == fake_pycuda.below.most_bytes


def test_memory_that_is_short_is_known_by_its_class(
    fake_pycuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(nbytes: int) -> None:
        raise fake_pycuda.MemoryError("cuMemAlloc failed: words of another driver")

    device = open_pycuda_device()
    monkeypatch.setattr(fake_pycuda, "mem_alloc", refuse)
    with pytest.raises(GpuMemoryError, match="OUT_OF_MEMORY"):
        device.device_memory(64)


def test_work_that_breaks_off(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    stream = device.stream()
    fake_pycuda.below.refusals["synchronise"] = [EngineError("no")]
    with pytest.raises(EngineError, match=r"work on the GPU failed, since .*\(CUDA_ERROR_LAUNCH_FAILED\)"):
        stream.synchronise()


def test_a_mark_has_a_time_in_seconds(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    stream = device.stream()
    first, second = stream.mark(), stream.mark()
    stream.synchronise()
    assert second.seconds_since(first) == pytest.approx(1e-3)


def test_no_graphs(fake_pycuda: Any) -> None:
    device = open_pycuda_device()
    with pytest.raises(EngineError, match=r"^PyCUDA cannot capture work .* pip install 'dmn-em\[gpu\]'$"):
        device.stream().capturing()
