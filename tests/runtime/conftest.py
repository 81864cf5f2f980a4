"""A small network with pooling, skips and a decoder, written by hand, whose footprint is known on paper."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dmn_runtime.certificate.golden import golden_members, golden_table
from dmn_runtime.contract import Certificate, Contract, Domain, Normalisation, Precision
from dmn_runtime.contract_json import to_json
from dmn_runtime.plan import Footprint

GOLDEN_TILES = 2


def _conv(name: str, weight: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(weight.astype(np.float32), name)


def small_unet(in_channels: int, seed: int = 0) -> bytes:
    """Return conv 3x3 -> pool -> conv 3x3 -> upsample -> concat -> conv 3x3, random weights, as ONNX bytes.

    On paper, at full resolution: the last convolution needs 1 px; through the upsampling the inner one needs
    1 px of 2 px each, the pooling 1 px more, the first convolution 1 px: at most 1 + (1 + 1) * 2 + 1 = 6 px.
    """
    rng = np.random.default_rng(seed)
    weights = [
        _conv("w1", rng.normal(size=(4, in_channels, 3, 3)) / 3),
        _conv("w2", rng.normal(size=(6, 4, 3, 3)) / 4),
        _conv("w3", rng.normal(size=(1, 10, 3, 3)) / 4),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
    ]
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], **pads),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], **pads),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node(
            "Resize",
            ["r2", "", "scales"],
            ["u2"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Concat", ["r1", "u2"], ["j"], axis=1),
        helper.make_node("Conv", ["j", "w3"], ["logits"], **pads),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", in_channels, "h", "w"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, "h", "w"])
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def small_network() -> Callable[[int], tuple[bytes, Footprint]]:
    """Return a maker of (network, footprint) for a number of context slices."""

    def make(context_slices: int) -> tuple[bytes, Footprint]:
        return small_unet(2 * context_slices + 1), Footprint(2, 6, context_slices)

    return make


def make_certificate(**changes: object) -> Certificate:
    """Return a sound certificate of fp32 by ONNX Runtime, with changes."""
    known: dict[str, Any] = {
        "engine": "cpu",
        "library": "onnxruntime 1.31.1",
        "device": "Some CPU, 1 thread",
        "tiles": GOLDEN_TILES,
        "threshold": 0.5,
        "max_dp": 1e-6,
        "mean_dp": 1e-7,
        "iou_change": 0.0,
        "objects": None,
        "objects_matched": None,
        "tolerance_max_dp": 1e-4,
        "tolerance_iou_change": 5e-4,
        "voxels_per_s": None,
        "speedup": None,
        "passed": True,
    }
    return Certificate(**(known | changes))


@pytest.fixture(scope="session")
def certificate() -> Callable[..., Certificate]:
    """Return a maker of sound certificates of fp32, which takes fields that are otherwise."""
    return make_certificate


@pytest.fixture(scope="session")
def small_package(
    small_network: Callable[[int], tuple[bytes, Footprint]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return a maker of packages around the small network, random weights and all.

    `shift` is how wrong the golden answers are, so that every engine fails on them.
    """
    folder = tmp_path_factory.mktemp("packages")

    def make(
        context: int = 0, working_nm: float | None = None, halo_px: int | None = None, shift: float = 0.0
    ) -> Path:
        network, footprint = small_network(context)
        halo = footprint.halo_px if halo_px is None else halo_px
        members = {"weights.onnx": network, **_golden(network, 2 * context + 1, halo, shift)}
        contract = Contract(
            name="small",
            description="A network with random weights, for tests.",
            classes=("mitochondrion",),
            in_channels=2 * context + 1,
            context_slices=context,
            stride_px=footprint.stride_px,
            halo_px=halo,
            voxel_nm=(50.0, 5.0, 5.0),
            working_voxel_nm=working_nm,
            normalisation=Normalisation(),
            threshold=0.5,
            precisions={"fp32": Precision("weights.onnx", (make_certificate(),))},
            domain=Domain((-1.0, -0.9, -0.5, 0.0, 0.5, 0.9, 1.0), 0.1),
            provenance={"method": "none"},
            members=_hashes(members),
        )
        path = folder / f"small-{context}-{working_nm}-{halo_px}-{shift}.zip"
        _write(path, to_json(contract), members)
        return path

    return make


@pytest.fixture
def tested_package(small_package: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of the small package with test tensors, whose output is wrong by `shift`."""

    def make(shift: float = 0.0, working_nm: float | None = None) -> Path:
        with zipfile.ZipFile(small_package(working_nm=working_nm)) as archive:
            document = json.loads(archive.read("dmn.json"))
            members = {name: archive.read(name) for name in document["members"]}
        image, output = _test_tensors(members["weights.onnx"])
        members |= {"test_input.npy": _npy(image), "test_output.npy": _npy(output + np.float32(shift))}
        document["members"] = _hashes(members)
        document["provenance"] = {"run": {"method": "source_only", "seed": 3}}
        path = tmp_path / "tested.zip"
        _write(path, document, members)
        return path

    return make


def _golden(network: bytes, in_channels: int, halo_px: int, shift: float) -> dict[str, bytes]:
    """Return golden tiles of noise, and the network's own answers for their cores, wrong by `shift`."""
    shape = (GOLDEN_TILES, in_channels, 32, 32)
    grey = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    probability = _probability(network, golden_table(Normalisation())[grey])
    core = probability[..., halo_px : 32 - halo_px, halo_px : 32 - halo_px]
    return golden_members(grey, np.clip(core + shift, 0.0, 1.0))


def _hashes(members: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


def _write(path: Path, document: dict[str, Any], members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"dmn.json": json.dumps(document).encode(), **members}.items():
            # Without a time of its own: the same package has the same hash whenever it is made.
            archive.writestr(zipfile.ZipInfo(name), content)


def _test_tensors(network: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return a test image and its probability, by the preprocessing that bioimageio.yaml declares."""
    image = np.random.default_rng(1).integers(0, 256, (1, 1, 32, 32)).astype(np.uint8)
    low, high = np.percentile(image, [1, 99])
    scaled = 2 * (image - low) / (high - low + 1e-6) - 1
    probability = _probability(network, np.clip(scaled, -2, 2).astype(np.float32))
    return image, probability.astype(np.float32)


def _probability(network: bytes, tiles: NDArray[np.float32]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {"image": tiles})
    answer: NDArray[np.float64] = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return answer


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
