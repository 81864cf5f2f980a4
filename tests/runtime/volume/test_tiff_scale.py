"""Voxel sizes of TIFF files: what counts, what does not."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.volume.open import open_volume

STACK = np.zeros((3, 16, 20), np.uint8)


def voxel_nm(path: Path, array: np.ndarray = STACK, **options: object) -> tuple[float, float, float] | None:
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    with open_volume(path) as volume:
        return volume.voxel_nm


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"PhysicalSizeX": 0.0046, "PhysicalSizeY": 0.005, "PhysicalSizeZ": 0.05}, (50, 5, 4.6)),
        (
            {"PhysicalSizeX": 46, "PhysicalSizeXUnit": "Å", "PhysicalSizeY": 5, "PhysicalSizeYUnit": "nm",
             "PhysicalSizeZ": 0.05, "PhysicalSizeZUnit": "µm"}, (50, 5, 4.6),
        ),
        ({"PhysicalSizeX": 0.0046, "PhysicalSizeY": 0.005}, None),
        ({"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 1, "PhysicalSizeZ": 1}, None),
        ({"PhysicalSizeX": 1000, "PhysicalSizeY": 1000, "PhysicalSizeZ": 1000}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_ome(tmp_path: Path, sizes: dict[str, object], expected: tuple[float, ...] | None) -> None:
    found = voxel_nm(tmp_path / "a.ome.tif", metadata={"axes": "ZYX", **sizes})
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_micrometres(tmp_path: Path, unit: str) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.04, "unit": unit}
    found = voxel_nm(tmp_path / "a.tif", imagej=True, resolution=(1 / 0.004, 1 / 0.005), metadata=metadata)
    assert found == pytest.approx((40, 5, 4))


def test_imagej_nanometres_with_falling_z(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": -40.0, "unit": "nm"}
    found = voxel_nm(tmp_path / "a.tif", imagej=True, resolution=(0.25, 0.2), metadata=metadata)
    assert found == pytest.approx((40, 5, 4))


@pytest.mark.parametrize("metadata", [{"unit": "um"}, {"spacing": 0.04}, {"spacing": 1.0, "unit": "pixel"}])
def test_imagej_incomplete(tmp_path: Path, metadata: dict[str, object]) -> None:
    found = voxel_nm(
        tmp_path / "a.tif", imagej=True, resolution=(250, 200), metadata={"axes": "ZYX", **metadata}
    )
    assert found is None


def test_tags_of_one_slice(tmp_path: Path) -> None:
    found = voxel_nm(tmp_path / "a.tif", STACK[0], resolution=(1e7 / 4, 1e7 / 5), resolutionunit="CENTIMETER")
    assert found == pytest.approx((5, 5, 4))


def test_both_edges_must_be_plausible(tmp_path: Path) -> None:
    for resolution in ((1e7 / 4, 1e7 / 50_000), (1e7 / 50_000, 1e7 / 4)):
        assert (
            voxel_nm(tmp_path / "a.tif", STACK[0], resolution=resolution, resolutionunit="CENTIMETER") is None
        )


def test_tags_of_a_stack_leave_z_unknown(tmp_path: Path) -> None:
    found = voxel_nm(tmp_path / "a.tif", resolution=(1e7 / 4, 1e7 / 5), resolutionunit="CENTIMETER")
    assert found is None


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1200])
def test_dots_per_inch_are_no_voxel_size(tmp_path: Path, dpi: int) -> None:
    assert voxel_nm(tmp_path / "a.tif", STACK[0], resolution=(dpi, dpi), resolutionunit="INCH") is None


@pytest.mark.parametrize("resolution", [((0, 1), (0, 1)), (1, 1)])
def test_unset_tags(tmp_path: Path, resolution: tuple[object, object]) -> None:
    found = voxel_nm(tmp_path / "a.tif", STACK[0], resolution=resolution, resolutionunit="CENTIMETER")
    assert found is None


def test_no_unit(tmp_path: Path) -> None:
    assert (
        voxel_nm(tmp_path / "a.tif", STACK[0], resolution=(1e7 / 4, 1e7 / 4), resolutionunit="NONE") is None
    )
