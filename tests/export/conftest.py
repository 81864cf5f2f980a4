"""Networks with weights as lively as trained ones, a finished run, a contract; and no way to the internet."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
import tifffile
import torch
from torch import nn

from dmn_runtime.contract import Certificate, Contract, Domain, Normalisation, Precision
from dmn_train.loop import train
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.recipe import load_recipe
from dmn_train.run import RUN_JSON

FINISHED_S = 1_700_000_000

RECIPE = """
name = "tiny"

[network]
base = 4
levels = 2
context_slices = 1

[data.source]
image = "image.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]

[loop]
steps = 2
batch = 2
crop_px = 32
precision = "32-true"
device = "cpu"

[log]
overlays = 0
"""


@pytest.fixture(autouse=True)
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any attempt to reach another machine fail loudly."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("an export must not need a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def enliven(network: nn.Module, seed: int) -> nn.Module:
    """Give a network random weights of natural size and BatchNorm statistics that matter."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor, size: float) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator) * size

    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(normal(module.weight, (2.0 / module.weight[0].numel()) ** 0.5))
            if module.bias is not None:
                module.bias.copy_(normal(module.bias, 0.1))
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(normal(module.running_mean, 0.1))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
            module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
            module.bias.copy_(normal(module.bias, 0.1))
    return network


@pytest.fixture(scope="session")
def lively() -> Callable[..., nn.Module]:
    """Return a function that builds a U-Net as if it were trained."""
    return lambda base=4, levels=2, context=0, seed=0: enliven(UNet(NetworkSpec(base, levels, context)), seed)


@pytest.fixture
def shifted_onnx() -> Callable[[float], bytes]:
    """Return a function that makes an ONNX file by hand whose logit is the image plus a number."""

    def build(bias: float) -> bytes:
        shape = ["batch", 1, "height", "width"]
        image, logits = (
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name in ("image", "logits")
        )
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Add", ["image", "bias"], ["logits"])],
            "shifted",
            [image],
            [logits],
            [onnx.numpy_helper.from_array(np.array(bias, np.float32), "bias")],
        )
        opset = [onnx.helper.make_opsetid("", 18)]
        return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())

    return build


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run over a small made-up volume of discs, with three input slices."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:80, :96]
    mask = np.stack([(rows - 40) ** 2 + (columns - 30 - 5 * z) ** 2 < 400 for z in range(4)]).astype(np.uint8)
    image = (160 - 90 * mask + rng.normal(0, 15, mask.shape)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(folder / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / "mask.tif", mask, photometric="minisblack")
    (folder / "recipe.toml").write_text(RECIPE)
    train(load_recipe(folder / "recipe.toml"), folder / "run")
    os.utime(folder / "run" / RUN_JSON, (FINISHED_S, FINISHED_S))
    return folder / "run"


@pytest.fixture
def contract() -> Contract:
    """Return the contract of a package with one fp32 network of one input slice."""
    certificate = Certificate(
        engine="cpu",
        library="onnxruntime 1.31.1",
        device="Some CPU, 1 thread",
        tiles=8,
        threshold=0.5,
        max_dp=1e-6,
        mean_dp=1e-7,
        iou_change=0.0,
        objects=5,
        objects_matched=5,
        tolerance_max_dp=1e-4,
        tolerance_iou_change=5e-4,
        voxels_per_s=2e6,
        speedup=None,
        passed=True,
    )
    return Contract(
        name="mito",
        description="Mitochondria.",
        classes=("mitochondrion",),
        in_channels=1,
        context_slices=0,
        stride_px=4,
        halo_px=28,
        voxel_nm=(5.0, 5.0, 5.0),
        working_voxel_nm=None,
        normalisation=Normalisation(),
        threshold=0.5,
        precisions={"fp32": Precision("weights.onnx", (certificate,))},
        domain=Domain((-1.0, -0.8, -0.2, 0.1, 0.4, 0.8, 1.0), 0.06),
        provenance={"method": "source_only"},
    )
