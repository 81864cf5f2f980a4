"""A GPU's ceilings on the fake device, whose clock counts a millisecond a task."""

from typing import Any

import numpy as np
import pytest

from dmn_runtime.bench import gpu_ceilings
from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.gpu_ceilings import copy_on_gpu, marked_s
from dmn_runtime.errors import EngineError


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_ceilings, "COPY_BYTES", 70_000)
    monkeypatch.setattr(gpu_ceilings, "LEAST_COPY_BYTES", 4096)
    monkeypatch.setattr(gpu_ceilings, "_RANDOM_BYTES", 16_384)


def test_a_copy_is_timed_by_the_device(numpy_device: Any) -> None:
    # Each copy takes two tasks, its own and the mark's; 70000 is 273 times the alignment and a rest.
    assert copy_on_gpu(numpy_device) == pytest.approx(2 * 273 * 256 / 0.002)
    numpy_device.check_empty()


def test_all_that_is_copied_is_random(numpy_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    bury = type(numpy_device).bury

    def watched(owner: Any, memory: Any) -> None:
        if memory.on_device:
            seen.append(memory.data.copy())
        bury(owner, memory)

    monkeypatch.setattr(type(numpy_device), "bury", watched)
    copy_on_gpu(numpy_device)
    target, source = seen
    assert np.array_equal(target, source)
    parts = np.bincount(source, minlength=256) / source.size
    assert np.abs(parts - 1 / 256).max() < 3e-3


def test_it_is_as_large_as_a_quarter_of_what_is_free(numpy_device: Any) -> None:
    numpy_device.most_bytes = 4 * 5000
    assert copy_on_gpu(numpy_device) == pytest.approx(2 * 4864 / 0.002)
    numpy_device.most_bytes = 4 * 4095
    with pytest.raises(CeilingFault, match="room for a copy of 0 MiB only, which its cache may hold"):
        copy_on_gpu(numpy_device)


@pytest.mark.parametrize(
    ("operation", "which"),
    [("stream", 1), ("device_memory", 2), ("host_memory", 1), ("launch", 3), ("launch", 9), ("mark", 2)],
)
def test_a_refusal_leaves_nothing_behind(numpy_device: Any, operation: str, which: int) -> None:
    numpy_device.refusals[operation] = [*[None] * (which - 1), EngineError("the driver refuses")]
    with pytest.raises(EngineError, match="the driver refuses"):
        copy_on_gpu(numpy_device)
    numpy_device.check_empty()


def test_the_median_is_taken_after_warming_up() -> None:
    class Mark:
        def __init__(self, at_s: float) -> None:
            self.at_s = at_s

        def seconds_since(self, earlier: "Mark") -> float:
            return self.at_s - earlier.at_s

        def close(self) -> None: ...

    class Stream:
        now_s = 0.0

        def mark(self) -> Mark:
            return Mark(self.now_s)

        def synchronise(self) -> None: ...

    stream: Any = Stream()
    # Slow first calls, and one that was disturbed, do not count.
    spans = iter([9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 50.0])

    def work() -> None:
        stream.now_s += next(spans)

    assert marked_s(stream, work) == 2.0
