import dataclasses
import errno
import json
from pathlib import Path

import pytest

from dmn_runtime import report as report_module
from dmn_runtime import whole_file as whole_file_module
from dmn_runtime.errors import OutputError
from dmn_runtime.machine import Machine
from dmn_runtime.report import (
    GpuFacts,
    GridFacts,
    InputFacts,
    NormalisationFacts,
    PackageFacts,
    PlanFacts,
    Report,
    report_json,
    versions,
    write_report,
)
from dmn_runtime.seams import Difference, SeamScore

REPORT = Report(
    input=InputFacts("stack.tif", "TIFF", (2, 30, 40), "uint8", (50.0, 4.6, 4.6), "ab" * 32),
    package=PackageFacts("mito", "cd" * 32, "source_only"),
    grids=GridFacts((2, 15, 20), (50.0, 9.2, 9.2), (2, 30, 40), (50.0, 4.6, 4.6)),
    normalisation=NormalisationFacts(12.0, 222.0, 2.0, 2400),
    plan=PlanFacts((2, 16, 16), (1, 16, 16), 8, 8, 4, 8),
    engine="fp32 by onnxruntime 1.2.3",
    engine_reason="cpu fp32, the only one in question",
    precision="fp32",
    workers=2,
    threshold=0.5,
    busy_s={"read": 0.25, "network": 1.5},
    queues={"segment": 1.5, "write": 0.25},
    choose_s=0.75,
    wall_s=2.0,
    first_tile_s=0.5,
    voxels=2400,
    peak_rss_bytes=1000,
    machine=Machine("Some CPU", 2, 4000, "Linux"),
    versions={"dmn": "0"},
    started="2025-01-02T03:04:05+00:00",
    resumed=False,
    foreground_share=0.05,
    drift=("a sentence",),
)


def test_the_file_is_the_report(tmp_path):
    path = tmp_path / "report.json"
    write_report(path, REPORT)
    read = json.loads(path.read_text())
    assert list(read)[:2] == ["format", "format_version"]
    assert (read["format"], read["format_version"]) == ("dmn-report", 1)
    assert read["input"] == {
        "name": "stack.tif",
        "format": "TIFF",
        "shape": [2, 30, 40],
        "dtype": "uint8",
        "voxel_nm": [50.0, 4.6, 4.6],
        "fingerprint": "ab" * 32,
    }
    assert read["engine"] == "fp32 by onnxruntime 1.2.3"
    assert read["engine_reason"] == "cpu fp32, the only one in question"
    assert read["precision"] == "fp32"
    assert read["voxels_per_s"] == 1200.0
    assert read["seams"] is None
    assert read["machine"]["cpu"] == "Some CPU"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_seams_are_optional():
    seams = SeamScore(Difference(10, 1, 0.5), Difference(20, 0, 0.0))
    found = report_json(dataclasses.replace(REPORT, seams=seams))["seams"]
    assert found["faces"] == {"voxels": 10, "max_grey": 1, "mean_grey": 0.5}


def test_what_went_through_a_gpu_is_told_where_there_was_one():
    assert report_json(REPORT)["gpu"] is None
    gpu = GpuFacts(1152, 4, 1, 1, 3 * 2**28, 2**31, 2**30)
    assert report_json(dataclasses.replace(REPORT, gpu=gpu))["gpu"] == {
        "edge_px": 1152,
        "batch": 4,
        "lanes": 1,
        "slab_slices": 1,
        "planned_bytes": 3 * 2**28,
        "free_before_bytes": 2**31,
        "free_after_bytes": 2**30,
    }
    assert gpu.words() == (
        "tiles of 1152 px, batches of 4, 1 stream, slabs of 1 slice; 2.00 GiB free before and 1.00 after, "
        "0.75 planned"
    )


def test_an_older_report_is_replaced(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    write_report(path, REPORT)
    assert json.loads(path.read_text())["format"] == "dmn-report"


def test_a_failed_write_leaves_the_older_report_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file_module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(path, REPORT)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_that_is_not_there_is_one_sentence():
    with pytest.raises(OutputError, match=r"the report .* cannot be written \(No such file or directory\)"):
        write_report(Path("/nowhere/at/all/report.json"), REPORT)


def test_versions_name_everything_that_a_result_depends_on():
    assert set(versions()) == {"dmn", "python", "numpy", "onnxruntime", "tifffile", "zarr"}
    assert "not installed" not in versions().values()


def test_onnxruntime_is_found_under_its_other_name(monkeypatch):
    def version(name: str) -> str:
        if name == "onnxruntime":
            raise report_module.PackageNotFoundError(name)
        return f"1.0 of {name}"

    monkeypatch.setattr(report_module, "version", version)
    assert versions()["onnxruntime"] == "1.0 of onnxruntime-gpu"
