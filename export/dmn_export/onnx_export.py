"""A torch network as one ONNX file: any batch and size, BatchNorm folded, no trace of the machine."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn

from dmn_runtime.errors import CertificateError

OPSET = 18
INPUT_NAME = "image"
OUTPUT_NAME = "logits"

# Two samples, neither axis 1 nor equal to the other: torch.export would make such sizes constants.
_EXAMPLE_BATCH = 2
_EXAMPLE_BLOCKS = (5, 7)
_MOST_BLOCKS = 1 << 16


def export_onnx(network: nn.Module, in_channels: int, stride_px: int) -> bytes:
    """Export a network that maps nchw normalised intensities to nchw logits.

    The multiple-of-stride rule of height and width is written into the graph's symbolic shapes. BatchNorm is
    folded into the convolutions by the exporter's optimiser; a file in which one is left is refused.

    Args:
        network: float32 on the CPU; it is exported in eval mode and left in the mode that it was in.
        in_channels: channels of its input.
        stride_px: height and width must be multiples of this.

    Returns:
        The ONNX file (opset 18, input "image", output "logits"), the same bytes for the same weights.

    Raises:
        CertificateError: the exported graph still normalises by batch, or fails the ONNX checker.
    """
    was_training = network.training
    network.eval()
    try:
        model = _export(network, in_channels, stride_px)
    finally:
        network.train(was_training)
    _forget_origin(model)
    _check(model)
    # Deterministic: protobuf maps would otherwise be written in the order of a hash table.
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _export(network: nn.Module, in_channels: int, stride_px: int) -> onnx.ModelProto:
    height_blocks = torch.export.Dim("height_blocks", min=1, max=_MOST_BLOCKS)
    width_blocks = torch.export.Dim("width_blocks", min=1, max=_MOST_BLOCKS)
    free = {
        0: torch.export.Dim("batch"),
        2: stride_px * height_blocks,
        3: stride_px * width_blocks,
    }
    height, width = (blocks * stride_px for blocks in _EXAMPLE_BLOCKS)
    example = torch.linspace(-1.0, 1.0, _EXAMPLE_BATCH * in_channels * height * width)
    with _quiet_exporter():
        program = torch.onnx.export(
            network,
            (example.reshape(_EXAMPLE_BATCH, in_channels, height, width),),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep away what the exporter says about itself, and only that."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_says_more_than_no_torchvision)
    try:
        with warnings.catch_warnings():
            # torch.export pickles a deprecated class of its own (torch 2.11 to 2.13).
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            yield
    finally:
        registration.removeFilter(_says_more_than_no_torchvision)


def _says_more_than_no_torchvision(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("torchvision is not installed")


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes beside each node: source lines with paths of the exporting machine."""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    graph = model.graph
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CertificateError(
            f"the exported graph is not valid ONNX ({error}): report this network"
        ) from error
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise CertificateError(
            "the exported graph still holds a BatchNormalization, which runs slower and quantises badly: "
            "place every BatchNorm directly behind a convolution"
        )
