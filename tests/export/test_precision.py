"""Networks in other arithmetic: what their files hold, and that they still compute the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from torch import nn

from dmn_export.certify import probability, runner_for
from dmn_export.onnx_export import export_onnx
from dmn_export.precision import RUNGS, to_fp16, to_int8, to_int8_trt
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.trial import probabilities
from dmn_runtime.errors import CertificateError

Quantise = Callable[..., bytes]
TILES = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def network(lively: Callable[..., nn.Module]) -> bytes:
    return export_onnx(lively(base=4, levels=2), 1, 4)


@pytest.fixture(scope="module", params=[to_int8, to_int8_trt], ids=["int8", "int8-trt"])
def quantise(request: pytest.FixtureRequest) -> Quantise:
    found: Quantise = request.param
    return found


def graph_of(network: bytes) -> onnx.GraphProto:
    return onnx.load_from_string(network).graph


def arrays(network: bytes) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph_of(network).initializer}


def convolutions(network: bytes) -> list[onnx.NodeProto]:
    return [node for node in graph_of(network).node if node.op_type == "Conv"]


def largest_difference(network: bytes, other: bytes, precision: str) -> float:
    one = probabilities(runner_for(Candidate("cpu", "fp32"), network), TILES, 0)
    two = probabilities(runner_for(Candidate("cpu", precision), other), TILES, 0)
    assert two.dtype == np.float32
    return float(np.abs(one - two).max())


# fp16


def test_fp16_has_half_weights_and_half_input_and_output(network: bytes) -> None:
    graph = graph_of(to_fp16(network))
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    assert scales
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    before = {tensor.name: tensor.data_type for tensor in graph_of(network).initializer}
    assert TensorProto.FLOAT in before.values()
    for name, kind in kinds.items():
        kept = name in scales or before[name] != TensorProto.FLOAT
        assert kind == (before[name] if kept else TensorProto.FLOAT16), name
    assert {kinds[name] for name in scales} == {TensorProto.FLOAT}
    ends = (graph.input[0], graph.output[0])
    assert [(end.name, end.type.tensor_type.elem_type) for end in ends] == [
        ("image", TensorProto.FLOAT16),
        ("logits", TensorProto.FLOAT16),
    ]
    assert len(to_fp16(network)) < 0.75 * len(network)


def test_fp16_is_valid_onnx_and_computes_the_same(network: bytes) -> None:
    half = to_fp16(network)
    onnx.checker.check_model(onnx.load_from_string(half), full_check=True)
    difference = largest_difference(network, half, "fp16")
    assert 0.0 < difference < 0.01


def test_fp16_is_the_same_every_time(network: bytes) -> None:
    assert to_fp16(network) == to_fp16(network)


@pytest.mark.parametrize(("largest", "said"), [(65600.0, r"6\.56e\+04"), (float("nan"), "nan")])
def test_a_weight_that_half_precision_cannot_hold_is_refused(
    shifted_onnx: Callable[[float], bytes], largest: float, said: str
) -> None:
    with pytest.raises(CertificateError, match=f"the weight bias reaches {said}, more than half precision"):
        to_fp16(shifted_onnx(largest))


def test_the_largest_half_is_still_held(shifted_onnx: Callable[[float], bytes]) -> None:
    assert arrays(to_fp16(shifted_onnx(-65504.0)))["bias"] == np.float16(-65504.0)


# int8


def made_from(graph: onnx.GraphProto, tensor: str) -> str:
    """Return the operator that makes a tensor, "" for a weight or the input."""
    return next((node.op_type for node in graph.node if tensor in node.output), "")


@pytest.mark.parametrize("rung", RUNGS)
def test_the_ends_of_the_network_are_left_alone(
    network: bytes, quantise: Quantise, rung: tuple[int, int]
) -> None:
    small = quantise(network, TILES, rung)
    graph, nodes = graph_of(small), convolutions(small)
    quantised = [made_from(graph, node.input[1]) == "DequantizeLinear" for node in nodes]
    first, last = rung
    assert quantised == [first <= place < len(nodes) - last for place in range(len(nodes))]
    assert any(quantised)
    kept = [node for node, small in zip(nodes, quantised, strict=True) if not small]
    assert all(arrays(small)[node.input[1]].dtype == np.float32 for node in kept)
    assert {node.op_type for node in graph.node} >= {"QuantizeLinear", "DequantizeLinear", "Conv"}


def test_quantising_is_deterministic_and_silent(
    network: bytes, quantise: Quantise, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert quantise(network, TILES) == quantise(network, TILES)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_ranges_come_from_the_tiles(network: bytes, quantise: Quantise) -> None:
    assert quantise(network, TILES) != quantise(network, 3 * TILES)


def test_quantised_networks_compute_nearly_the_same(network: bytes) -> None:
    for precision, quantise in (("int8", to_int8), ("int8-trt", to_int8_trt)):
        difference = largest_difference(network, quantise(network, TILES), precision)
        assert 0.0 < difference < 0.25, precision


def quantisers(network: bytes) -> list[tuple[bool, np.ndarray]]:
    """Return, for each dequantised tensor, whether it is a weight, and its zero point."""
    held = arrays(network)
    nodes = [node for node in graph_of(network).node if node.op_type == "DequantizeLinear"]
    return [(node.input[0] in held, held[node.input[2]]) for node in nodes]


def weights(network: bytes) -> list[np.ndarray]:
    held = arrays(network)
    nodes = [node for node in graph_of(network).node if node.op_type == "DequantizeLinear"]
    return [held[node.input[0]] for node in nodes if node.input[0] in held]


def test_int8_for_processors_has_unsigned_activations_and_weights_of_7_bits(network: bytes) -> None:
    small = to_int8(network, TILES)
    activations = [zero for is_weight, zero in quantisers(small) if not is_weight]
    assert {str(zero.dtype) for zero in activations} == {"uint8"}
    eight_bits = [weight for weight in weights(small) if weight.dtype == np.int8]
    assert eight_bits
    # Twice a product of 8 and 7 bits fits into the 16 signed bits of AVX2's sums, of 8 and 8 bits not.
    assert max(int(np.abs(weight.astype(int)).max()) for weight in eight_bits) <= 64


def test_int8_for_tensorrt_is_symmetric_and_leaves_biases_alone(network: bytes) -> None:
    small = to_int8_trt(network, TILES)
    found = quantisers(small)
    assert {str(zero.dtype) for _, zero in found} == {"int8"}
    assert all(not zero.any() for _, zero in found)
    assert {str(weight.dtype) for weight in weights(small)} == {"int8"}
    graph = graph_of(small)
    assert TensorProto.INT32 not in {tensor.data_type for tensor in graph.initializer}
    biases = [node.input[2] for node in convolutions(small) if len(node.input) > 2]
    assert biases
    assert all(arrays(small)[bias].dtype == np.float32 for bias in biases)


def test_the_reference_is_compared_in_double_precision() -> None:
    assert probability(np.zeros(1, np.float32)).dtype == np.float64


def described(value: Any) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_sizes_stay_free(network: bytes, quantise: Quantise) -> None:
    before = graph_of(network)
    for made in (quantise(network, TILES), to_fp16(network)):
        graph = graph_of(made)
        assert described(graph.input[0]) == described(before.input[0])
        assert described(graph.output[0]) == described(before.output[0])
