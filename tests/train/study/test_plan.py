"""What a study trains, decided before anything is trained."""

import ntpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.recipe import load_recipe
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy, load_study
from dmn_train.study.plan import lay_over, plan_study, relative
from dmn_train.study.toml import to_toml

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))

Load = Callable[..., PlacedStudy]


@pytest.fixture
def jobs(study: Load, folder: Path) -> dict[str, Job]:
    return {job.id: job for job in plan_study(study(), folder / "out")}


def test_every_run_is_there_once_and_comes_after_what_it_starts_from(jobs: dict[str, Job]) -> None:
    assert list(jobs) == [
        *("shared/strong/seed0", "A/other/seed0", "B/other/seed0"),
        *("shared/strong/seed1", "A/other/seed1", "B/other/seed1"),
        *("B/strong-f0.5/seed0", "B/strong-f1/seed0", "B/other-f0.5/seed0", "B/other-f1/seed0"),
        *("B/strong-f0.5/seed1", "B/strong-f1/seed1", "B/other-f0.5/seed1", "B/other-f1/seed1"),
    ]
    assert jobs["shared/strong/seed1"].depends_on == ()
    assert jobs["A/other/seed1"].depends_on == ("shared/strong/seed1",)
    assert jobs["B/strong-f1/seed0"].depends_on == ("shared/strong/seed0",)
    assert jobs["B/other-f1/seed1"].depends_on == ("B/other/seed1",)


def test_a_shared_arm_is_trained_once_without_a_target_and_tested_everywhere(jobs: dict[str, Job]) -> None:
    assert jobs["shared/strong/seed0"].protocols == ("A", "B")
    assert "target" not in recipe(jobs["shared/strong/seed0"])["data"]
    assert jobs["A/other/seed0"].protocols == ("A",)


def recipe(job: Job) -> dict[str, Any]:
    assert job.recipe is not None
    return job.recipe


def test_a_recipe_is_base_then_protocol_then_arm_and_its_paths_start_from_where_it_lies(
    jobs: dict[str, Job], folder: Path
) -> None:
    made = recipe(jobs["B/other/seed1"])
    assert made["name"] == "tiny-B-other-seed1"
    assert made["loop"]["seed"] == 1
    assert made["loop"]["steps"] == 4
    assert made["loop"]["batch"] == 4
    assert made["method"] == {"histogram_matching": 0.5}
    assert made["data"]["source"]["image"] == "../../../source.tif"
    assert made["data"]["target"][0] == {
        "image": "../../../image.tif",
        "voxel_nm": [5.0, 5.0, 5.0],
        "slices": [0, 3],
    }
    assert made["init"] == {"run": "../../shared/strong/seed1"}
    assert jobs["B/other/seed1"].folder == folder / "out" / "B" / "other" / "seed1"


def test_fine_tuning_has_the_targets_labels_and_neither_target_nor_method(jobs: dict[str, Job]) -> None:
    made = recipe(jobs["B/other-f0.5/seed0"])
    assert made["data"] == {
        "source": {
            "image": "../../../image.tif",
            "mask": "../../../mask.tif",
            "voxel_nm": [5.0, 5.0, 5.0],
            "columns": [0, 64],
            "fraction": 0.5,
        }
    }
    assert made["method"] == {"name": "source_only"}
    assert "validate" not in made
    assert made["loop"]["steps"] == 2
    assert made["init"] == {"run": "../other/seed0"}
    assert recipe(jobs["B/strong-f0.5/seed0"])["init"] == {"run": "../../shared/strong/seed0"}
    assert jobs["B/other-f0.5/seed0"].fraction == 0.5


def test_fine_tuning_drops_a_target_that_the_arm_names_itself(study: Load, folder: Path) -> None:
    own = "set = { data = { target = [{ image = 'image.tif' }] }, method"
    jobs = {job.id: job for job in plan_study(study(("set = { method", own)), folder / "out")}
    assert "target" in recipe(jobs["B/other/seed0"])["data"]
    assert "target" not in recipe(jobs["B/other-f1/seed0"])["data"]


def test_a_recipe_written_as_toml_is_read_back(jobs: dict[str, Job], tmp_path: Path) -> None:
    from dmn_train.recipe import parse_recipe

    for job in jobs.values():
        (tmp_path / "made.toml").write_text(to_toml(recipe(job)))
        assert load_recipe(tmp_path / "made.toml").recipe == parse_recipe(recipe(job), job.id)


def test_arms_may_leave_protocols_out_and_take_finished_runs(study: Load, folder: Path) -> None:
    placed = study(
        ('name = "other"', 'name = "other"\nprotocols = ["B"]'),
        ("shared = true", 'run = "elsewhere/{seed}"'),
        text=study().path.read_text().partition("[finetune]")[0],
    )
    jobs = {job.id: job for job in plan_study(placed, folder / "out")}
    assert list(jobs) == ["shared/strong/seed0", "B/other/seed0", "shared/strong/seed1", "B/other/seed1"]
    assert jobs["shared/strong/seed1"].recipe is None
    assert jobs["shared/strong/seed1"].folder == folder / "elsewhere" / "1"
    assert recipe(jobs["B/other/seed1"])["init"] == {"run": "../../../elsewhere/1"}


def test_tables_are_laid_key_by_key_but_another_source_replaces_the_one_below() -> None:
    below = {"loop": {"steps": 1, "batch": 2}, "data": {"source": {"image": "a", "slices": [0, 1]}}}
    assert lay_over(below, {"loop": {"steps": 3}}) == {**below, "loop": {"steps": 3, "batch": 2}}
    assert lay_over(below, {"data": {"source": {"image": "b"}}})["data"] == {"source": {"image": "b"}}
    assert lay_over(below, {"data": {"source": {"fraction": 0.1}}})["data"]["source"]["image"] == "a"
    assert below["loop"] == {"steps": 1, "batch": 2}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title =", "titel =", "unknown key titel"),
        ('baseline = "strong"', 'baseline = "weak"', "baseline names weak, known are strong, other"),
        (
            'baseline = "strong"',
            'baseline = "strong"\nbeside = "weak"',
            "beside names weak, known are strong",
        ),
        ('baseline = "strong"', 'baseline = "strong"\nbeside = "strong"', "beside is strong, the baseline"),
        ("steps = 4", "steps = 4, devices = 2", "A/other/seed0: loop.devices is 2, but a study trains every"),
        (
            "columns = [0, 64]",
            "columns = [0, 65]",
            "B/strong-f0.5/seed0 has labels of the part of .*/image.tif",
        ),
        ("columns = [0, 64]", "slices = [3, 4]", "give finetune.set.data.source other slices or columns"),
        ("seeds = [0, 1]", "seeds = [1, 1]", "seeds 1 is there twice"),
        ('name = "B"', 'name = "A"', "protocol A is there twice"),
        ('name = "B"', 'name = "shared"', "has the name of what all protocols share"),
        ('name = "B"', 'name = "B/C"', "'B/C' names no file"),
        ("{ other = 0.5 }", "{ others = 0.5 }", "published names others"),
        ("slices = [1, 4]", "slices = [4, 4]", "slices must be"),
        (
            "[protocol.set.data]",
            "[protocol.set.loop]\nsteps = 2\n[protocol.set.data]",
            "shared arms would not",
        ),
        ("shared = true", "shared = true\nset = { data = { target = [] } }", "so has no data.target"),
        ('init = "strong"', 'init = "other"', "start from each other"),
        ('init = "strong"', 'init = "strong"\nrun = "x"', "remove init, teacher and set"),
        ("steps = 4", "stebs = 4", "A/other/seed0: unknown key loop.stebs; did you mean loop.steps"),
        ("fractions = [0.5, 1.0]", "fractions = [1.5]", "finetune.fractions.0 is 1.5"),
        ('arms = ["strong", "other"]', 'arms = ["weak"]', "finetune.arms names weak"),
        ('recipe = "base.toml"', 'recipe = "none.toml"', "none.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(
    study: Load, folder: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        plan_study(study((old, new)), folder / "out")


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_the_studies_of_the_repository_can_be_planned(path: Path, tmp_path: Path) -> None:
    jobs = plan_study(load_study(path), tmp_path)
    assert len({job.id for job in jobs}) == len(jobs) > 0


def test_fine_tuning_may_have_labels_beside_the_part_that_is_tested(study: Load, folder: Path) -> None:
    plan_study(study(("columns = [0, 64]", "slices = [4, 6]")), folder / "out")
    plan_study(study(("columns = [0, 64]", "slices = [0, 1]\ncolumns = [10, 90]")), folder / "out")


def test_a_path_on_another_drive_stays_whole() -> None:
    start = Path("C:/study/runs/A")
    assert relative("C:\\data\\image.tif", start, ntpath) == "..\\..\\..\\data\\image.tif"
    assert relative("D:\\data\\image.tif", start, ntpath) == "D:\\data\\image.tif"
