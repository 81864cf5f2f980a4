"""The exported graph: shapes left free, BatchNorm folded, the same numbers, no trace of the machine."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from dmn_export.certify import probability, run_onnx, run_torch
from dmn_export.onnx_export import export_onnx
from dmn_runtime.errors import CertificateError

Build = Callable[..., nn.Module]


@pytest.fixture(scope="module")
def exported() -> dict[str, bytes]:
    return {}


@pytest.fixture
def network(lively: Build) -> nn.Module:
    return lively(base=4, levels=2, context=1)


@pytest.fixture
def onnx_file(network: nn.Module, exported: dict[str, bytes]) -> bytes:
    if "file" not in exported:
        exported["file"] = export_onnx(network, 3, 4)
    return exported["file"]


def test_batch_and_multiples_of_the_stride_are_free(onnx_file: bytes) -> None:
    graph = onnx.load_from_string(onnx_file).graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "image": ["batch", 3, "4*height_blocks", "4*width_blocks"],
        "logits": ["batch", 1, "4*height_blocks", "4*width_blocks"],
    }


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 3, 8, 4), (1, 3, 96, 64), (3, 3, 20, 28)])
def test_the_numbers_are_those_of_torch(network: nn.Module, onnx_file: bytes, shape: tuple[int, ...]) -> None:
    tiles = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found, expected = probability(run_onnx(onnx_file, tiles)), probability(run_torch(network, tiles))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_opset_and_folding(onnx_file: bytes) -> None:
    model = onnx.load_from_string(onnx_file)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "MaxPool", "Resize", "Concat"}


def test_no_path_of_this_machine_is_in_the_file(onnx_file: bytes) -> None:
    for trace in (b"stack_trace", b".py", str(Path.home()).encode(), str(Path(__file__).parents[2]).encode()):
        assert trace not in onnx_file


def test_again_in_training_mode_it_is_silent_and_gives_the_same_bytes(
    network: nn.Module, onnx_file: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    again = export_onnx(network.train(), 3, 4)
    assert network.training
    assert hashlib.sha256(again).digest() == hashlib.sha256(onnx_file).digest()
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_network_without_stride_is_exported_too() -> None:
    graph = onnx.load_from_string(export_onnx(nn.Conv2d(1, 1, 3, padding=1), 1, 1)).graph
    shape = graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == [
        "batch",
        1,
        "height_blocks",
        "width_blocks",
    ]


class NormFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(torch.relu(self.norm(image)))


def test_a_batchnorm_that_cannot_be_folded_is_refused() -> None:
    with pytest.raises(
        CertificateError, match=r"still holds a BatchNormalization.*directly behind a convolution"
    ):
        export_onnx(NormFirst(), 1, 1)
