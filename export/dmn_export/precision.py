"""The network in other arithmetic: what each precision of a package is made of.

fp16      weights, input and output in half precision; for GPUs
bf16      the fp32 file, run in bfloat16 by the engine (OpenVINO on processors that have it)
int8      8-bit weights and activations as ONNX Runtime and OpenVINO want them on a CPU: unsigned activations,
          signed weights of 7 bits, without which processors that lack VNNI saturate their 16-bit sums
int8-trt  as TensorRT wants them: all symmetric and signed, biases left alone
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from dmn_export.onnx_export import INPUT_NAME
from dmn_runtime.errors import CertificateError

Tiles = NDArray[np.float32]

LARGEST_HALF = 65504.0
_FLOAT_INPUTS = {"Resize": (1, 2)}
"""Operator -> inputs that stay float32 whatever its data are (ONNX operator specification, Resize-18)."""


def to_fp16(network: bytes) -> bytes:
    """Return a network with weights, input and output in half precision.

    Raises:
        CertificateError: a weight is too large for half precision.
    """
    model = onnx.load_from_string(network)
    graph = model.graph
    kept = {
        node.input[index]
        for node in graph.node
        for index in _FLOAT_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_half(tensor))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    graph.ClearField("value_info")  # types of the inside: whoever reads the file finds them again
    onnx.checker.check_model(model, full_check=True)
    return _bytes(model)


def _half(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST_HALF:  # also refuses NaN
        raise CertificateError(
            f"the weight {tensor.name} reaches {largest:.3g}, more than half precision holds "
            f"({LARGEST_HALF:g}): leave fp16 out with --precision"
        )
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)


RUNGS = ((1, 1), (2, 1), (2, 3))
"""How many of the first and of the last convolutions keep their float32 weights, from fastest to finest.

They see grey values and decide on the mask: 8 bits cost most there. Measured on s16 (EPFL, VNC): the first
rung costs no speed, the second a tenth of it, the third a fifth.
"""


def to_int8(network: bytes, tiles: Tiles, rung: tuple[int, int] = RUNGS[0]) -> bytes:
    """Return a network quantised for CPUs.

    Args:
        network: in fp32.
        tiles: network input, nchw, from which the ranges are taken.
        rung: one of `RUNGS`.
    """
    from onnxruntime.quantization import QuantType

    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "reduce_range": True}
    return _quantised(network, tiles, rung, kinds, {})


def to_int8_trt(network: bytes, tiles: Tiles, rung: tuple[int, int] = RUNGS[0]) -> bytes:
    """Return a network quantised for TensorRT; the arguments are those of `to_int8`."""
    from onnxruntime.quantization import QuantType

    kinds = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    # TensorRT refuses asymmetric activations and int32 biases.
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    return _quantised(network, tiles, rung, kinds, symmetric)


def _quantised(
    network: bytes, tiles: Tiles, rung: tuple[int, int], kinds: dict[str, Any], extra: dict[str, Any]
) -> bytes:
    """Quantise statically, weights by output channel, in QDQ form; ranges are means over the tiles'."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(tiles)

        def get_next(self) -> dict[str, Tiles] | None:
            tile = next(self.rest, None)
            return None if tile is None else {INPUT_NAME: tile[None]}

    options = kinds | {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "nodes_to_exclude": _ends(network, rung),
        "extra_options": extra | {"CalibMovingAverage": True},
    }
    with tempfile.TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        before.write_bytes(network)
        quantize_static(before, after, Reader(), **options)
        model = onnx.load(after)
    onnx.checker.check_model(model, full_check=True)
    return _bytes(model)


def _ends(network: bytes, rung: tuple[int, int]) -> list[str]:
    """Return the names of the first and the last convolutions."""
    nodes = onnx.load_from_string(network).graph.node
    names = [node.name for node in nodes if node.op_type == "Conv"]
    first, last = rung
    return names[:first] + names[-last:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away the quantiser's advice to run its own preprocessing: the exporter has folded already."""
    root = logging.getLogger()
    former = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(former)


def _bytes(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content
