import dataclasses

import numpy as np
import pytest
import tifffile

from dmn_runtime.contract import PackagedPlan, Precision
from dmn_runtime.inspection import (
    VolumeFacts,
    next_command,
    package_json,
    package_text,
    volume_facts,
    volume_text,
)
from dmn_runtime.package import open_package
from dmn_runtime.volume.open import open_volume

SHAPES = ((1, 1, 64, 64), (8, 1, 64, 64), (8, 1, 64, 64))
FACTS = VolumeFacts(
    path="my stack.tif",
    format="TIFF",
    shape=(2, 300, 400),
    dtype="uint16",
    bytes=480_000,
    voxel_nm=None,
    layout="whole slices, uncompressed",
    window_ms=0.5,
    low=3,
    high=900,
    values=700,
    percentiles={"1": 10.0, "50": 400.0, "99": 800.0},
)


def test_the_facts_of_a_volume(tmp_path):
    path = tmp_path / "v.tif"
    voxels = np.arange(200, dtype=np.uint8).reshape(2, 10, 10)
    tifffile.imwrite(path, voxels, photometric="minisblack")
    with open_volume(path, voxel_nm=(50.0, 4.0, 4.0)) as volume:
        facts = volume_facts(volume)
    assert (facts.shape, facts.dtype, facts.bytes) == ((2, 10, 10), "uint8", 200)
    assert (facts.low, facts.high, facts.values) == (0, 199, 200)
    assert facts.percentiles["50"] == 99.0
    assert facts.voxel_nm == (50.0, 4.0, 4.0)
    assert facts.window_ms > 0


def test_a_volume_in_words():
    text = volume_text(FACTS)
    assert text.splitlines()[0] == "my stack.tif is a volume."
    assert "2 x 300 x 400 voxels (z, y, x), uint16, 0.48 MB" in text
    assert "unknown; give it to dmn infer with --voxel-nm Z,Y,X" in text
    assert "regions are read fast" in text
    assert "3 to 900, 700 different ones" in text
    assert "1 %: 10, 50 %: 400, 99 %: 800" in text


def test_one_is_singular_and_percentiles_are_ordinals(tested_package, certificate):
    assert "(it holds 1 value, like a mask)" in next_command(dataclasses.replace(FACTS, values=1))
    package = open_package(tested_package())
    precisions = {"fp32": Precision("weights.onnx", (certificate(tiles=1),))}
    rule = dataclasses.replace(package.contract.normalisation, low_percent=1.0, high_percent=99.5)
    contract = dataclasses.replace(package.contract, precisions=precisions, normalisation=rule)
    text = package_text(dataclasses.replace(package, contract=contract), "tested.zip")
    assert "on 1 tile\n" in text
    assert "1st to 99.5th percentile become -1 to 1" in text


def test_a_volume_that_reads_slowly_is_told():
    assert "regions are read slowly" in volume_text(dataclasses.replace(FACTS, window_ms=51.0))


def test_the_next_command():
    assert next_command(FACTS) == (
        "dmn infer demo 'my stack.tif' -o 'my stack'.segmented.ome.zarr --voxel-nm Z,Y,X"
    )
    known = dataclasses.replace(FACTS, path="in.h5::raw", voxel_nm=(5.0, 5.0, 5.0))
    assert next_command(known) == "dmn infer demo in.h5::raw -o in.segmented.ome.zarr"
    assert next_command(dataclasses.replace(FACTS, path="m.tif", values=2)).startswith(
        "dmn evaluate PREDICTION m.tif"
    )


def test_a_package_in_words(tested_package):
    path = tested_package(working_nm=10.0)
    text = package_text(open_package(path), "tested.zip")
    assert text.splitlines()[0] == "tested.zip is a package that segments mitochondria: small."
    assert "method source_only, seed 3" in text
    assert "10 nm pixels (y, x); other volumes are resampled" in text
    assert "halo 6 px, stride 2 px" in text
    assert (
        "certified    fp32 as onnxruntime 1.31.1 computes it: max |dp| 1e-06, IoU change 0 from the trained "
        "network, on 2 tiles\n"
    ) in text
    assert "  run by       fp32: tensorrt, tensorrt_rtx, cuda, openvino, cpu\n" in text
    assert "dmn infer tested.zip STACK.tif -o result.ome.zarr" in text


def test_every_certificate_of_a_package_is_told_with_its_speed(tested_package, certificate):
    package = open_package(tested_package())
    measured = [
        certificate(voxels_per_s=2e6, device="Some CPU"),
        certificate(engine="openvino", voxels_per_s=6e6, speedup=3.0, device="Some CPU"),
    ]
    precisions = {
        "fp32": Precision("weights.onnx", (measured[0],)),
        "int8": Precision("w.onnx", (measured[1],)),
        "fp16": Precision("h.onnx", (measured[0],)),
    }
    told = dataclasses.replace(package, contract=dataclasses.replace(package.contract, precisions=precisions))
    text = package_text(told, "tested.zip")
    assert "on 2 tiles; 2.00 Mvoxel/s on Some CPU" in text
    assert "int8 as onnxruntime 1.31.1 computes it: max |dp|" in text
    assert "  run by       int8: openvino, cpu\n" in text
    assert "; 6.00 Mvoxel/s, 3.0 times fp32 on Some CPU" in text
    # Certified by a library that dmn infer does not run it with.
    assert "fp16 as onnxruntime 1.31.1 computes it" in text
    assert "  run by       fp16: tensorrt, tensorrt_rtx, cuda\n" in text


def test_engines_that_travel_in_the_package_are_told(tested_package):
    package = open_package(tested_package())
    assert "machine code" not in package_text(package, "tested.zip")
    plans = tuple(
        PackagedPlan(
            f"plans/{precision}.plan", precision, "tensorrt_rtx", "1.7.1.116", targets, platform, *SHAPES
        )
        for precision, targets, platform in [
            ("fp16", ("SM86", "SM89"), "linux_x86_64"),
            ("fp32", ("SM120",), "windows_x86_64"),
        ]
    )
    told = dataclasses.replace(package, contract=dataclasses.replace(package.contract, plans=plans))
    lines = [line for line in package_text(told, "tested.zip").splitlines() if "machine code" in line]
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "tensorrt_rtx 1.7.1.116, fp16, for SM86, SM89 on linux_x86_64: machine code, trusted because the "
        "package is",
        "tensorrt_rtx 1.7.1.116, fp32, for SM120 on windows_x86_64: machine code, trusted because the "
        "package is",
    ]


@pytest.mark.parametrize("provenance", [{}, {"run": None}, {"run": "by its method"}, {"run": {}}])
def test_a_package_may_be_silent_about_its_training(tested_package, provenance):
    package = open_package(tested_package())
    silent = dataclasses.replace(
        package, contract=dataclasses.replace(package.contract, provenance=provenance)
    )
    assert "the package does not say how" in package_text(silent, "demo")


def test_the_json_of_a_package_is_its_contract(tested_package):
    found = package_json(open_package(tested_package()))
    assert found["halo_px"] == 6
    assert found["precisions"]["fp32"]["certificates"][0]["max_dp"] == 1e-6
    assert len(found["sha256"]) == 64
