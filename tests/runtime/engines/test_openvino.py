"""OpenVINO: the same logits, the arithmetic that was asked for, and threads that do not lock each other."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmn_runtime import extras
from dmn_runtime.engines import openvino as engine
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.engines.openvino import open_openvino
from dmn_runtime.errors import EngineError, MissingExtra
from dmn_runtime.tiles import sigmoid

TIME_LIMIT_S = 120
NO_BFLOAT16 = r"^this CPU has no bfloat16: take another --precision$"
TILES = np.random.default_rng(3).uniform(-2, 2, (3, 1, 64, 48)).astype(np.float32)


@pytest.fixture(scope="module")
def network(small_network: Callable[..., Any]) -> bytes:
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'dmn-em[openvino]'")
    return small_network(0)[0]


def has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_the_same_logits_as_onnxruntime(network: bytes) -> None:
    runner = open_openvino(network, "fp32", 1)
    for tiles in (TILES, TILES[:1, :, :32, :32], TILES):
        logits = runner.run(tiles)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, open_cpu(network).run(tiles), rtol=0, atol=1e-4)
    runner.close()


def test_fp32_is_not_quietly_computed_in_bfloat16(network: bytes) -> None:
    found = sigmoid(open_openvino(network, "fp32", 1).run(TILES))
    assert np.abs(found - sigmoid(open_cpu(network).run(TILES))).max() <= 1e-4


def test_bfloat16_is_what_was_asked_for(network: bytes) -> None:
    if not has_bfloat16():
        with pytest.raises(EngineError, match=NO_BFLOAT16):
            open_openvino(network, "bf16", 1)
        return
    difference = np.abs(
        sigmoid(open_openvino(network, "bf16", 1).run(TILES)) - sigmoid(open_cpu(network).run(TILES))
    )
    assert 1e-4 < difference.max() < 0.2


def test_a_cpu_without_bfloat16_is_told_so(network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    class Plain:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    engine.has_bfloat16.cache_clear()
    monkeypatch.setattr(openvino, "Core", Plain)
    try:
        with pytest.raises(EngineError, match=NO_BFLOAT16):
            open_openvino(network, "bf16", 1)
    finally:
        engine.has_bfloat16.cache_clear()


def test_it_is_compiled_for_so_many_single_threaded_calls(
    network: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    asked = []
    plain = openvino.Core.compile_model

    def compile_model(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.append((device, settings))
        return plain(core, model, device, settings)

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    runner = open_openvino(network, "int8", 3)
    wanted = {"INFERENCE_NUM_THREADS": 3, "NUM_STREAMS": 3, "INFERENCE_PRECISION_HINT": "f32"}
    assert asked == [("CPU", wanted)]
    assert runner.description.endswith(", CPU, 1 thread a worker")


def test_threads_do_not_share_what_they_compute(network: bytes) -> None:
    runner = open_openvino(network, "fp32", 4)
    tiles = [np.roll(TILES, shift, axis=-1) for shift in range(16)]
    wanted = [runner.run(one) for one in tiles]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runner.run, tiles))
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_returned_is_not_overwritten_by_the_next_call(network: bytes) -> None:
    runner = open_openvino(network, "fp32", 1)
    first = runner.run(TILES)
    kept = first.copy()
    runner.run(-TILES)
    np.testing.assert_array_equal(first, kept)


FIRST_TOGETHER = """
import sys, threading
import numpy as np
from dmn_runtime.engines.openvino import open_openvino

runner = open_openvino(open(sys.argv[1], "rb").read(), "fp32", 2)
together = threading.Barrier(2)
tiles = np.zeros((1, 1, 32, 32), np.float32)

def call():
    together.wait()
    runner.run(tiles)

threads = [threading.Thread(target=call) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("both came back")
"""


def test_two_threads_may_be_the_first_together(network: bytes, tmp_path: Any) -> None:
    (tmp_path / "network.onnx").write_bytes(network)
    done = subprocess.run(
        [sys.executable, "-c", FIRST_TOGETHER, str(tmp_path / "network.onnx")],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "both came back\n"), done.stderr


def test_the_first_array_is_handed_over_before_any_thread_can(
    network: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    first = engine._initialise
    monkeypatch.setattr(engine, "_initialise", lambda: (order.append("first array"), first()))
    open_openvino(network, "fp32", 1)
    assert order == ["first array"]


def test_a_file_that_is_no_network() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'dmn-em[openvino]'")
    with pytest.raises(EngineError, match=r"^openvino [0-9.]+ cannot load the network: ") as caught:
        open_openvino(b"no network", "fp32", 1)
    assert "\n" not in str(caught.value)


def test_without_openvino_the_sentence_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_present", lambda name: name != "openvino")
    with pytest.raises(MissingExtra, match=r"pip install 'dmn-em\[openvino\]'$"):
        open_openvino(b"", "fp32", 1)


STOPPED_AFTER_TWO = """
import os, signal, sys
import numpy as np
from dmn_runtime.engines.openvino import open_openvino

network = open(sys.argv[1], "rb").read()
runners = [open_openvino(network, "fp32", 1) for _ in range(2)]
for runner in runners:
    runner.run(np.zeros((1, 1, 16, 16), np.float32))
while runners:
    del runner, runners[0]  # first in, first out
    runner = None
signal.signal(signal.SIGINT, lambda *_: print("stopped in order", flush=True))
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are those of Linux")
def test_a_signal_after_two_networks_is_handled(network: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(network)
    command = [sys.executable, "-c", STOPPED_AFTER_TWO, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
    assert (ended.returncode, ended.stdout) == (0, "stopped in order\n"), ended.stderr
