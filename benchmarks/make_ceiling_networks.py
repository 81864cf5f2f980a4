"""Write the networks of matrix products by which `dmn bench` measures an engine's ceiling: package data.

.venv/bin/python benchmarks/make_ceiling_networks.py            writes them
.venv/bin/python benchmarks/make_ceiling_networks.py --check    fails where those are not what this gives

A network is `LAYERS` products by one square matrix, so that what goes in and comes out is a small part of the
time. The matrix is that of the sine transform, S[i, j] = sqrt(2 / (n + 1)) sin(pi (i + 1) (j + 1) / (n + 1)):
full of different numbers, orthogonal, so that values neither grow nor vanish, and its own inverse, so that an
even number of layers gives the input back. A file holds the formula; engines compute it once, when they load.

The products are MatMul, which is level with a 1 x 1 convolution in float32 and far ahead of it in OpenVINO's
bfloat16 and ONNX Runtime's int8 (measured: 2.9 and 4.3 times). In OpenVINO's int8 the convolution is ahead
by 1.2 times, so it has that one.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dmn_runtime.bench.product import CPU_EDGE, GPU_EDGE, LAYERS
from dmn_runtime.whole_file import whole_file

FOLDER = Path(__file__).parents[1] / "runtime" / "dmn_runtime" / "bench" / "networks"
OPSET, IR_VERSION = 17, 9
REAL = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8": TensorProto.FLOAT}
NETWORKS = (
    ("matmul", CPU_EDGE, "fp32"),
    ("matmul", CPU_EDGE, "int8"),
    ("conv", CPU_EDGE, "int8"),
    ("matmul", GPU_EDGE, "fp32"),
    ("matmul", GPU_EDGE, "fp16"),
)
IMAGE_STEP = 1 / 64
"""Of the 8-bit activations, unsigned around 128 as in the packages: from -2 to 2."""


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, out: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out


def network(form: str, edge: int, arithmetic: str) -> bytes:
    """Return a network.

    Args:
        form: "matmul" takes (n, 1, rows, edge), "conv" (n, edge, height, width).
        edge: of the matrix.
        arithmetic: "fp32", "fp16", or "int8": quantised around every product, QDQ.
    """
    graph = _Graph()
    weights = _weights(graph, form, edge, arithmetic)
    values = "image"
    for layer in range(LAYERS):
        if arithmetic == "int8":
            values = _quantised(graph, values, layer, f"quantised_{layer}")
        out = "logits" if layer == LAYERS - 1 and arithmetic != "int8" else f"values_{layer}"
        values = graph.node("MatMul" if form == "matmul" else "Conv", values, weights, out=out)
    if arithmetic == "int8":  # without which the last product is not computed in int8
        _quantised(graph, values, LAYERS, "logits")
    shape = ["n", 1, "rows", edge] if form == "matmul" else ["n", edge, "height", "width"]
    ends = [helper.make_tensor_value_info(name, REAL[arithmetic], shape) for name in ("image", "logits")]
    made = helper.make_graph(graph.nodes, "products", ends[:1], ends[1:], graph.constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="dmn"
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _weights(graph: _Graph, form: str, edge: int, arithmetic: str) -> str:
    """Add the matrix, (edge, edge) or, for a convolution, (edge, edge, 1, 1); return its name."""
    graph.constant("first", np.float64(1))
    graph.constant("end", np.float64(edge + 1))
    graph.constant("angle", np.float64(np.pi / (edge + 1)))
    graph.constant("behind", np.array([1], np.int64))
    graph.node("Range", "first", "end", "first", out="numbers")
    graph.node("Mul", "numbers", "angle", out="angles")
    graph.node("Unsqueeze", "numbers", "behind", out="column")
    graph.node("Mul", "column", "angles", out="all_angles")
    graph.node("Sin", "all_angles", out="sines")
    scale = np.sqrt(2 / (edge + 1))
    if arithmetic == "int8":  # by plain nodes: no engine computes QuantizeLinear of a constant beforehand
        graph.constant("most", np.float64(127))
        graph.node("Mul", "sines", "most", out="steps")
        graph.node("Round", "steps", out="whole_steps")
        matrix = graph.node("Cast", "whole_steps", out="matrix", to=TensorProto.INT8)
    else:
        graph.constant("scale", np.float64(scale))
        graph.node("Mul", "sines", "scale", out="scaled")
        matrix = graph.node("Cast", "scaled", out="matrix", to=REAL[arithmetic])
    if form == "conv":
        graph.constant("last", np.array([2, 3], np.int64))
        matrix = graph.node("Unsqueeze", matrix, "last", out="filters")
    if arithmetic == "int8":
        graph.constant("matrix_step", np.float32(scale / 127))
        graph.constant("matrix_zero", np.int8(0))
        graph.constant("image_step", np.float32(IMAGE_STEP))
        graph.constant("image_zero", np.uint8(128))
        matrix = graph.node("DequantizeLinear", matrix, "matrix_step", "matrix_zero", out="weights")
    return matrix


def _quantised(graph: _Graph, values: str, layer: int, out: str) -> str:
    step = "image_step", "image_zero"
    graph.node("QuantizeLinear", values, *step, out=f"levels_{layer}")
    return graph.node("DequantizeLinear", f"levels_{layer}", *step, out=out)


def main() -> None:
    """Write, or check what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    given = parser.parse_args()
    for form, edge, arithmetic in NETWORKS:
        path, content = FOLDER / f"{form}_{edge}_{arithmetic}.onnx", network(form, edge, arithmetic)
        if not given.check:
            with whole_file(path, "network") as partial:
                partial.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            sys.exit(f"make_ceiling_networks.py: {path.name} is not what this script gives: run it")
        print(f"{path.name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
