"""`dmn demo` end to end, with the package that the runtime carries."""

import json
import re
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_runtime.package import open_package, resolve_package


def test_the_embedded_package_is_small_and_made_by_the_default_recipe() -> None:
    path = resolve_package("demo")
    assert path.stat().st_size < 3_000_000
    contract = open_package(path).contract
    assert contract.working_voxel_nm == 10.0
    run = contract.provenance["run"]
    assert run["method"] == "source_only"
    # Made-up volumes alone: no microscopy data stands behind the package or travels in it.
    assert "phantom" in run["recipe"]["data"]["source"]


def test_the_demo_segments_its_volume_and_says_what_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "-o", str(folder)]) == 0
    said = capsys.readouterr().out
    found = re.search(r"fg IoU (0\.\d+)", said)
    assert found is not None
    assert float(found[1]) >= 0.85
    assert "Mvoxel/s" in said
    assert said.count("\n  dmn ") == 3
    assert sorted(p.name for p in folder.iterdir()) == [
        "image.tif",
        "made-by-dmn-demo.txt",
        "segmentation.ome.zarr",
        "segmentation.preview.png",
        "segmentation.report.json",
        "truth.tif",
    ]
    assert json.loads((folder / "segmentation.report.json").read_text())["input"]["voxel_nm"] == [10, 10, 10]


def test_the_demo_never_writes_over_somebodys_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "image.tif").write_text("mine")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert "holds files that no demo made" in capsys.readouterr().err
    assert (tmp_path / "image.tif").read_text() == "mine"


def test_the_demos_folder_may_not_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert main(["demo", "-o", str(tmp_path / "taken")]) == 2
    assert "choose another with -o" in capsys.readouterr().err
