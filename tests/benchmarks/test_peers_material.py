"""All contestants are given the same voxels, enlarged by mirrors where the volume is too small."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from contest.arguments import StudentWish, VolumeWish
from contest.material import enlarged, open_student, prepare, working_shape
from contest.scores import foreground_iou, grey, off_untiled

from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.package import open_package, resolve_package


def wish(
    path: Path = Path("v.tif"), slices: int = 0, mosaic: int = 1, labels: Path | None = None
) -> VolumeWish:
    return VolumeWish("v", path, (50.0, 5.0, 5.0), labels, slices, mosaic)


def test_slices_go_forwards_and_backwards() -> None:
    volume = np.arange(3, dtype=np.uint8).reshape(3, 1, 1)
    assert enlarged(volume, wish(slices=8)).ravel().tolist() == [0, 1, 2, 2, 1, 0, 0, 1]


def test_fewer_slices_than_there_are_change_nothing() -> None:
    volume = np.arange(3, dtype=np.uint8).reshape(3, 1, 1)
    assert enlarged(volume, wish(slices=2)).ravel().tolist() == [0, 1, 2]


def test_a_mosaic_is_mirrored_so_that_tissue_meets_itself() -> None:
    volume = np.array([[[1, 2], [3, 4]]], np.uint8)
    assert enlarged(volume, wish(mosaic=2)).tolist() == [
        [[1, 2, 2, 1], [3, 4, 4, 3], [3, 4, 4, 3], [1, 2, 2, 1]]
    ]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 60), np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "mito.tif", (image > 127).astype(np.uint8), photometric="minisblack")
    return tmp_path / "v.tif"


def test_the_shape_is_known_before_anything_is_read(stack: Path) -> None:
    assert working_shape(wish(stack, slices=5, mosaic=2), 10.0) == (5, 40, 60)


def test_what_is_prepared_has_that_shape(stack: Path, tmp_path: Path) -> None:
    asked = wish(stack, slices=5, mosaic=2, labels=stack.with_name("mito.tif"))
    contract = open_package(resolve_package("demo")).contract
    assert contract.working_voxel_nm == 10.0
    material = prepare(asked, contract, tmp_path)
    assert material.labels is not None
    assert np.load(material.voxels).shape == material.shape == material.labels.shape == (5, 40, 60)
    assert material.voxel_nm == (50.0, 10.0, 10.0)
    assert len(material.table) == 256
    assert material.table == sorted(material.table)


def test_labels_of_another_shape_are_refused(stack: Path) -> None:
    other = stack.with_name("other.tif")
    tifffile.imwrite(other, np.zeros((2, 40, 61), np.uint8), photometric="minisblack")
    with pytest.raises(VolumeError, match="labels must lie on the image's grid"):
        working_shape(wish(stack, labels=other), 10.0)


def test_16_bit_voxels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", np.zeros((2, 9, 9), np.uint16), photometric="minisblack")
    with pytest.raises(VolumeError, match="holds uint16, the peers are given 8-bit voxels"):
        working_shape(wish(tmp_path / "v.tif"), 10.0)


def run_json(folder: Path, weights_sha256: str) -> None:
    network = {"base": 8, "levels": 3, "context_slices": 0}
    facts = {"network": network, "weights_sha256": weights_sha256}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")


def test_a_student_is_known_by_its_weights(tmp_path: Path) -> None:
    path = resolve_package("demo")
    sha256 = open_package(path).contract.provenance["run"]["weights_sha256"]
    run_json(tmp_path, sha256)
    student = open_student(StudentWish("demo", tmp_path, path))
    assert student.weights_sha256 == sha256
    assert student.spec == {"base": 8, "levels": 3, "context_slices": 0}


def test_a_package_of_another_run_is_refused(tmp_path: Path) -> None:
    run_json(tmp_path, "0" * 64)
    with pytest.raises(
        UsageError, match=r"demo\.zip was exported from weights .* and the run has 000000000000"
    ):
        open_student(StudentWish("demo", tmp_path, resolve_package("demo")))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"network": 1}'])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is no finished run's"):
        open_student(StudentWish("demo", tmp_path, resolve_package("demo")))


def test_probabilities_are_rounded_as_dmn_rounds() -> None:
    assert grey(np.array([0.0, 0.5, 1.0, 1.2, -0.1], np.float32)).tolist() == [0, 128, 255, 255, 0]
    assert grey(np.array([7], np.uint8)).tolist() == [7]


def test_iou_of_the_foreground() -> None:
    probability = np.array([0.9, 0.9, 0.1, 0.1], np.float32)
    assert foreground_iou(probability, np.array([True, False, True, False]), 0.5) == pytest.approx(1 / 3)


def test_what_is_just_at_the_threshold_is_foreground() -> None:
    labels = np.array([True, True])
    assert foreground_iou(np.array([128, 127], np.uint8), labels, 0.5) == 0.5


def test_less_than_untiled_is_off_as_well() -> None:
    untiled = np.full((1, 129, 129), 1.0, np.float32)
    assert off_untiled(np.zeros_like(untiled), untiled)["max_grey"] == 255


def test_the_volumes_edge_says_nothing_of_seams() -> None:
    untiled = np.zeros((1, 130, 130), np.float32)
    probability = untiled.copy()
    probability[0, 0, 0] = 1.0
    assert off_untiled(probability, untiled) == {"max_grey": 0, "mean_grey": 0.0, "share_off": 0.0}
    probability[0, 64, 65] = 10 / 255
    assert off_untiled(probability, untiled) == {"max_grey": 10, "mean_grey": 2.5, "share_off": 0.25}


def test_slices_that_are_all_edge_have_no_seam_score() -> None:
    nothing = np.zeros((1, 128, 128), np.float32)
    assert off_untiled(nothing, nothing)["max_grey"] is None
