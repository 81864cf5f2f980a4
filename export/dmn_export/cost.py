"""What a network costs for each pixel of its input, counted on its graph."""

from dataclasses import dataclass
from math import prod

import onnx
from onnx import ModelProto, NodeProto

from dmn_runtime.errors import CertificateError

_FIELD_PX = 1024
"""Height and width at which shapes are inferred; a multiple of every stride."""


@dataclass(frozen=True)
class Cost:
    """Per pixel of the input.

    `multiply_adds_per_px`: of the convolutions. `values_per_px`: numbers that the nodes write, together: more
    than are ever in memory at once.
    """

    multiply_adds_per_px: float
    values_per_px: float


def network_cost(network: bytes, in_channels: int) -> Cost:
    """Count the cost of a fp32 network from nchw to nchw with free n, h and w.

    Raises:
        CertificateError: the shapes inside cannot be inferred, or it holds no convolution.
    """
    model = onnx.load_from_string(network)
    _fix_input(model, in_channels)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = _shapes(inferred)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    written = [name for node in model.graph.node for name in node.output if name in shapes]
    if not convolutions or any(node.output[0] not in shapes for node in convolutions):
        raise CertificateError(
            "the network's cost cannot be counted: its graph holds no convolution of known shape, wanted a "
            "convolutional network as dmn train makes it"
        )
    pixels = _FIELD_PX**2
    return Cost(
        sum(_multiply_adds(node, shapes, weights) for node in convolutions) / pixels,
        sum(prod(shapes[name]) for name in written if len(shapes[name]) == 4) / pixels,
    )


def _multiply_adds(
    node: NodeProto, shapes: dict[str, tuple[int, ...]], weights: dict[str, tuple[int, ...]]
) -> int:
    """Return the products of a convolution: every output value takes one weight of its filter each."""
    return prod(shapes[node.output[0]]) * prod(weights[node.input[1]][1:])


def _fix_input(model: ModelProto, in_channels: int) -> None:
    axes = model.graph.input[0].type.tensor_type.shape.dim
    for axis, size in zip(axes, (1, in_channels, _FIELD_PX, _FIELD_PX), strict=True):
        axis.dim_value = size
    # What stands there with free axes would contradict the fixed ones.
    del model.graph.value_info[:]
    for axis in model.graph.output[0].type.tensor_type.shape.dim:
        axis.Clear()


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    found = {}
    for value in [*model.graph.value_info, *model.graph.output]:
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            found[value.name] = tuple(axis.dim_value for axis in axes)
    return found
