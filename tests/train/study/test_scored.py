"""Objects and boundaries are scored where the study file asks for them, and nowhere else."""

import csv
import io
import shutil
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_train.study.execute import execute
from dmn_train.study.placed import load_study
from dmn_train.study.plan import plan_study
from dmn_train.study.state import states_of
from dmn_train.study.structure_file import structure_file
from dmn_train.study.test_volume import TestVolume

STUDY = """
name = "taken"
seeds = [0]
recipe = "recipe.toml"
baseline = "kept"

[[protocol]]
name = "A"
[protocol.test]
image = "copy.tif"
mask = "mask.tif"
voxel_nm = [5.0, 5.0, 5.0]

[[arm]]
name = "kept"
run = "run"
"""


def written(folder: Path, head: str) -> Path:
    shutil.copy(folder / "image.tif", folder / "copy.tif")  # no run may be tested on what it has labels of
    (folder / "taken.toml").write_text(head + STUDY)
    return folder / "taken.toml"


@pytest.mark.parametrize(("head", "wanted"), [("", False), ("structures = true\n", True)])
def test_a_report_holds_them_where_the_study_asks(
    run_folder: Path, folder: Path, head: str, wanted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    assert main(["study", str(written(folder, head)), "-o", str(out), "--report-only"]) == 0
    capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO((out / "taken.csv").read_text()))
    names = ("pq", "rq", "objects_found", "objects_true", "betti0_error", "nsd")
    assert [row[name] != "" for name in names] == [wanted] * 6
    assert structure_file(run_folder, "A").exists() is wanted
    assert ("### Objects and boundaries" in (out / "taken.md").read_text()) is wanted


@pytest.mark.parametrize("structures", [False, True])
def test_they_are_scored_with_the_job(run_folder: Path, folder: Path, structures: bool) -> None:
    placed = load_study(written(folder, ""))
    plan = plan_study(placed, folder / "out")
    tests = {one.name: TestVolume(one.test, placed.folder) for one in placed.study.protocol}
    execute(plan, states_of(plan), tests, at_once=1, tell=lambda _: None, structures=structures)
    assert structure_file(run_folder, "A").exists() is structures
