"""The README for the microscopist, and the table of certificates in it."""

from dataclasses import replace

import pytest

from dmn_export.airgap.certificates import certificate_table
from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes, plan_folder
from dmn_export.airgap.readme import write_readme
from dmn_runtime.contract import Certificate, Contract, Precision
from dmn_runtime.package import open_package, resolve_package

CERTIFICATE = Certificate(
    engine="openvino",
    library="openvino 2026.4.1",
    device="Xeon | 2 cores",
    tiles=16,
    threshold=0.52,
    max_dp=0.0672,
    mean_dp=0.001,
    iou_change=0.00123,
    objects=None,
    objects_matched=None,
    tolerance_max_dp=0.1,
    tolerance_iou_change=0.005,
    voxels_per_s=3_456_000.0,
    speedup=1.96,
    passed=True,
)


@pytest.fixture
def demo() -> Contract:
    contract = open_package(resolve_package("demo")).contract
    unmeasured = replace(CERTIFICATE, engine="cpu", voxels_per_s=None, speedup=None)
    precisions = {"fp32": Precision("w.onnx", (unmeasured,)), "int8": Precision("i.onnx", (CERTIFICATE,))}
    return replace(contract, name="mito {x}", precisions=precisions)


def test_every_certificate_is_a_row(demo: Contract) -> None:
    assert certificate_table(demo).splitlines()[2:] == [
        "| fp32 | cpu (openvino 2026.4.1) | Xeon / 2 cores | 0.0012 | 0.0672 | not measured |  |",
        "| int8 | openvino (openvino 2026.4.1) | Xeon / 2 cores | 0.0012 | 0.0672 | 3.46 | 2.0 |",
    ]


def test_a_table_has_as_many_columns_everywhere(demo: Contract) -> None:
    assert {line.count("|") for line in certificate_table(demo).splitlines()} == {8}


def test_the_readme_speaks_of_what_is_in_the_folder(demo: Contract, here: Here) -> None:
    text = write_readme(plan_folder(AirGapWishes(here)), demo, "mito.zip", [])
    assert text.startswith("# mito {x}: segmentation for a PC without network\n")
    for part in (
        "`sh install.sh`",
        "`install.bat`",
        "64-bit Python 3.11 ",
        "    dmn-env/bin/dmn infer mito.zip STACK.tif",
        '    dmn-env\\Scripts\\dmn infer "mito.zip" STACK.tif',
        "on 16 real tiles",
        certificate_table(demo),
        "`dmn doctor`",
        "`dmn verify mito.zip`",
    ):
        assert part in text
    assert "proprietary" not in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            (),
            "folders of images and OME-Zarr are read too. This folder holds nothing that reads HDF5, MRC or "
            "TIFFs\ncompressed with LZW, Zstandard or JPEG.",
        ),
        (
            ("objects", "mrc"),
            "folders of images, OME-Zarr and MRC are read too. This folder holds nothing that reads HDF5 or "
            "TIFFs\ncompressed with LZW, Zstandard or JPEG.",
        ),
        (
            ("codecs", "hdf5", "mrc"),
            "folders of images, OME-Zarr, HDF5, MRC and TIFFs\ncompressed with LZW, Zstandard or JPEG are "
            "read too. The answer",
        ),
    ],
    ids=str,
)
def test_the_readme_says_what_the_folder_can_read(
    demo: Contract, here: Here, more: tuple[str, ...], said: str
) -> None:
    text = write_readme(plan_folder(AirGapWishes(here, more_extras=more)), demo, "mito.zip", [])
    assert said.split() == text[text.index("folders of images") :].split()[: len(said.split())]


def test_one_tile_is_singular(demo: Contract, here: Here) -> None:
    one = replace(demo, precisions={"fp32": Precision("w.onnx", (replace(CERTIFICATE, tiles=1),))})
    assert " on 1 real tile. " in write_readme(plan_folder(AirGapWishes(here)), one, "m.zip", [])


def test_the_readme_is_silent_about_the_other_system(demo: Contract, here: Here) -> None:
    linux = write_readme(plan_folder(AirGapWishes(here, platforms=("linux",))), demo, "m.zip", [])
    windows = write_readme(plan_folder(AirGapWishes(here, platforms=("windows",))), demo, "m.zip", [])
    assert "Windows" not in linux
    assert "install.bat" not in linux
    assert "install.sh" not in windows
    assert "Ubuntu" not in windows


def test_proprietary_wheels_are_named_with_the_reason(demo: Contract, gpu_here: Here) -> None:
    plan = plan_folder(AirGapWishes(gpu_here, gpu_families=("rtx30", "rtx40")))
    text = write_readme(plan, demo, "m.zip", ["tensorrt-rtx-cu13", "tensorrt-rtx-cu13-libs"])
    assert "These are proprietary: tensorrt-rtx-cu13, tensorrt-rtx-cu13-libs." in text
    assert "engines for rtx30, rtx40 were asked for" in text
