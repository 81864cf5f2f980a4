"""A network whose 8-bit sums are as large as they can be, and its 8-bit forms."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

CHANNELS = 32
STEEPNESS = 12.0
MIDDLE = 1.55


def grey_tiles() -> NDArray[np.uint8]:
    """Return two tiles of squares, uint8 nchw, from black to white."""
    coarse = np.random.default_rng(1).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def bright_network() -> bytes:
    """Return conv 3x3 -> relu -> conv 3x3 -> relu -> conv 1x1 as ONNX: a mean, steep where it is bright.

    Every weight of the second convolution is the largest there is, and bright tissue comes to it as the
    largest activation, so that two products of 8 bits add up to more than 16 bits hold.
    """
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.uniform(0.2, 1.0, (CHANNELS, 1, 3, 3)) / 5.4,
        "b1": np.ones(CHANNELS),
        "w2": np.full((CHANNELS, CHANNELS, 3, 3), 1 / (9 * CHANNELS)),
        "w3": np.full((1, CHANNELS, 1, 1), STEEPNESS / CHANNELS),
        "b3": np.array([-STEEPNESS * MIDDLE]),
    }
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], **pads),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], **pads),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["logits"], kernel_shape=[1, 1]),
    ]
    image, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, "h", "w"])
        for name in ("image", "logits")
    )
    held = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "bright", [image], [logits], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Tiles(CalibrationDataReader):
    def __init__(self, tiles: NDArray[np.float32]) -> None:
        self.rest = iter([{"image": tiles}])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.rest, None)


def quantised(
    network: bytes, tiles: NDArray[np.float32], activation: str, weight: str, reduce: bool
) -> bytes:
    """Return a network in its 8-bit QDQ form.

    Args:
        network: ONNX, fp32.
        tiles: network input to calibrate on, nchw.
        activation: "QUInt8" or "QInt8".
        weight: the same.
        reduce: weights in 7 bits, so that no sum of two products saturates.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(network)
        quantize_static(
            source,
            target,
            _Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            activation_type=getattr(QuantType, activation),
            weight_type=getattr(QuantType, weight),
            per_channel=True,
            reduce_range=reduce,
        )
        return target.read_bytes()
