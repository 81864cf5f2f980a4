"""The engines' matrix products: what the networks compute, which one speaks of which engine, what is told."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from by_file import imported
from dmn_runtime.bench import product
from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.product import Ceiling, Product, engine_ceiling, on_processor, product_for
from dmn_runtime.engines import catalogue
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import KINDS
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.errors import EngineError

ROOT = Path(__file__).parents[3]


maker = imported(ROOT / "benchmarks" / "make_ceiling_networks.py")


@pytest.mark.parametrize(("form", "edge", "arithmetic"), maker.NETWORKS)
def test_the_files_are_those_of_the_script_and_small(form: str, edge: int, arithmetic: str) -> None:
    content = Product(form, edge, 1, arithmetic, arithmetic).network
    assert content == maker.network(form, edge, arithmetic), "run benchmarks/make_ceiling_networks.py"
    assert len(content) < 1500


def test_every_engine_and_precision_has_a_product() -> None:
    found = {
        f"{kind.word} {precision}": product_for(Candidate(kind.word, precision))
        for kind in KINDS
        for precision in kind.precisions
    }
    assert {name: (one.form, one.edge, one.real, one.precision) for name, one in found.items()} == {
        "cpu fp32": ("matmul", 1024, "fp32", "fp32"),
        "cpu int8": ("matmul", 1024, "int8", "int8"),
        "openvino fp32": ("matmul", 1024, "fp32", "fp32"),
        "openvino bf16": ("matmul", 1024, "fp32", "bf16"),
        "openvino int8": ("conv", 1024, "int8", "int8"),
        "cuda fp32": ("matmul", 4096, "fp32", "fp32"),
        "cuda fp16": ("matmul", 4096, "fp16", "fp16"),
        **{
            f"{word} {precision}": ("matmul", 4096, real, real)
            for word in ("tensorrt", "tensorrt_rtx")
            for precision, real in (("fp32", "fp32"), ("fp16", "fp16"), ("int8-trt", "fp16"))
        },
    }
    names = {(form, edge, real) for form, edge, real in maker.NETWORKS}
    assert {(one.form, one.edge, one.real) for one in found.values()} == names


def test_its_multiply_adds_and_shapes() -> None:
    assert Product("matmul", 1024, 512, "fp32", "fp32").macs == 4 * 512 * 1024 * 1024
    assert Product("matmul", 1024, 512, "fp32", "fp32").shape == (1, 1, 512, 1024)
    assert Product("conv", 1024, 512, "int8", "int8").shape == (1, 1024, 16, 32)
    image = Product("matmul", 64, 32, "fp32", "fp32").image(3)
    assert (image.dtype, image.shape) == (np.float32, (1, 1, 32, 64))
    assert -1 <= image.min() < -0.9 < 0.9 < image.max() < 1


@pytest.mark.parametrize(
    ("form", "arithmetic", "most"), [("matmul", "fp32", 1e-5), ("matmul", "int8", 0.2), ("conv", "int8", 0.2)]
)
def test_four_products_give_the_input_back(form: str, arithmetic: str, most: float) -> None:
    one = Product(form, 64, 32, arithmetic, arithmetic)
    image = one.image(0)
    answer = open_cpu(maker.network(form, 64, arithmetic)).run(image)
    assert np.abs(answer - image).max() < most
    assert np.abs(answer).max() > 0.9


def test_two_products_are_those_of_the_sine_transform() -> None:
    n = np.arange(1, 9)
    sines = np.sqrt(2 / 9) * np.sin(np.pi * np.outer(n, n) / 9)
    model = onnx.load_from_string(maker.network("matmul", 8, "fp32"))
    del model.graph.node[-3:]
    model.graph.node[-1].output[0] = "logits"
    image = Product("matmul", 8, 3, "fp32", "fp32").image(0)
    answer = open_cpu(model.SerializeToString()).run(image)
    np.testing.assert_allclose(answer, image @ sines, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "arithmetic", "left"),
    [
        ("matmul", "fp32", ["MatMul"] * 4),
        ("matmul", "fp16", ["MatMul"] * 4),
        ("matmul", "int8", ["QLinearMatMul"] * 4),
        ("conv", "int8", ["QLinearConv"] * 4),
    ],
)
def test_a_loaded_network_holds_products_alone(
    form: str, arithmetic: str, left: list[str], tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(maker.network(form, 64, arithmetic), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node]
    ends = {"QuantizeLinear", "DequantizeLinear", "Cast"}
    assert [kind for kind in kinds if kind not in ends] == left


class FakeRunner:
    description = "a fake"
    closed = False

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def run(self, tiles: np.ndarray) -> np.ndarray:
        self.calls.append(tiles.shape)
        return tiles

    def close(self) -> None:
        self.closed = True


def test_a_processor_s_speed_is_that_of_all_threads() -> None:
    runner, ticks = FakeRunner(), iter([0.0, 0.0, 10.0, 11.0, 11.5, 12.0])
    one = Product("matmul", 8, 4, "fp32", "bf16")
    found = on_processor(one, runner, 1, 1.2, lambda: next(ticks))
    # Two calls of 4 products of 4 x 8 by 8 x 8 in two seconds, after one that is not counted.
    assert found == Ceiling(
        4 * 4 * 64, "4 matrix products of 4 x 8 by 8 x 8 in bf16 by a fake, 1 side by side"
    )
    assert runner.calls == [(1, 1, 4, 8)] * 3
    assert runner.closed


@pytest.mark.parametrize("engine", ["cpu", "openvino"])
def test_the_engines_here_are_measured(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "CPU_ROWS", 1)
    found = engine_ceiling(Candidate(engine, "fp32"), 2, 0.0)
    assert found.macs_per_s > 0
    assert found.words.startswith("4 matrix products of 1 x 1024 by 1024 x 1024 in fp32 by o")


def test_the_precision_is_handed_to_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def opened(*words: Any) -> FakeRunner:
        asked.append(words)
        return FakeRunner()

    monkeypatch.setattr("dmn_runtime.engines.openvino.open_openvino", opened)
    engine_ceiling(Candidate("openvino", "bf16"), 3, 0.0)
    assert asked == [(product_for(Candidate("cpu", "fp32")).network, "bf16", 3)]


def test_what_cannot_be_measured_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: bytes) -> Any:
        raise RuntimeError("something  inside")

    monkeypatch.setattr("dmn_runtime.engines.cpu.open_cpu", broken)
    with pytest.raises(CeilingFault, match=r"^RuntimeError: something inside$"):
        engine_ceiling(Candidate("cpu", "fp32"), 1, 0.0)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine cuda be there."""
    kinds = tuple(
        catalogue.Kind("cuda", kind.precisions, lambda: None, kind.open, on_gpu=True)
        if kind.word == "cuda"
        else kind
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)


@pytest.mark.parametrize("engine", ["cuda", "tensorrt"])
def test_without_the_engine_cuda_there_is_none_for_a_gpu(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = tuple(
        catalogue.Kind(kind.word, kind.precisions, lambda: "not installed", kind.open, on_gpu=kind.on_gpu)
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)
    with pytest.raises(CeilingFault, match=r"by the engine cuda, which cannot run here: not installed$"):
        engine_ceiling(Candidate(engine, "fp16"), 1, 0.0)


@pytest.mark.usefixtures("cuda")
def test_a_gpu_s_product_is_by_cuda_also_for_tensorrt(
    monkeypatch: pytest.MonkeyPatch, numpy_device: Any, device_runner: Any
) -> None:
    numpy_device.make_current()
    runner = device_runner(numpy_device, maker.network("matmul", 64, "fp32"))
    opened: list[bytes] = []

    def open_cuda(network: bytes, _: Any) -> Any:
        opened.append(network)
        return runner

    monkeypatch.setattr("dmn_runtime.engines.cuda.open_cuda", open_cuda)
    monkeypatch.setattr(product, "GPU_EDGE", 64)
    monkeypatch.setattr(product, "GPU_ROWS", 16)
    monkeypatch.setattr(product.Product, "network", property(lambda one: one.real.encode()))
    found = engine_ceiling(Candidate("tensorrt", "int8-trt"), 1, 0.0)
    # The device's clock counts a millisecond a task: each call takes two, its own and the mark's.
    assert found.macs_per_s == pytest.approx(4 * 16 * 64 * 64 / 0.002)
    assert found.words == (
        "4 matrix products of 16 x 64 by 64 x 64 in fp16 by a fake, NumPy "
        "(there is none for int8 on a GPU, which may exceed 100 % of it)"
    )
    assert engine_ceiling(Candidate("cuda", "fp32"), 1, 0.0).words.endswith("in fp32 by a fake, NumPy")
    assert opened == [b"fp16", b"fp32"]
    numpy_device.check_empty()


@pytest.mark.usefixtures("cuda")
def test_a_gpu_that_cannot_be_reached_or_refuses_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, numpy_device: Any, device_runner: Any
) -> None:
    monkeypatch.setattr("dmn_runtime.engines.cuda.open_cuda", lambda *_: FakeRunner())
    with pytest.raises(CeilingFault, match="on the stream of a GPU, and no library for that is installed"):
        engine_ceiling(Candidate("cuda", "fp32"), 1, 0.0)
    numpy_device.make_current()
    runner = device_runner(numpy_device, maker.network("matmul", 64, "fp32"))
    numpy_device.refusals["device_memory"] = [EngineError("there is not enough memory")]
    monkeypatch.setattr("dmn_runtime.engines.cuda.open_cuda", lambda *_: runner)
    with pytest.raises(CeilingFault, match=r"^there is not enough memory$"):
        engine_ceiling(Candidate("cuda", "fp32"), 1, 0.0)
    numpy_device.check_empty()
