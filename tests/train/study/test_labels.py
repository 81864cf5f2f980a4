"""No run may have learned from labels of what it is tested on."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_runtime.errors import RecipeError, RunError
from dmn_train import lineage
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import RUN_JSON, load_run
from dmn_train.study.job import Job
from dmn_train.study.labels import labels_under_test
from dmn_train.study.overlap import Part
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study

from .conftest import STUDY

Load = Callable[..., PlacedStudy]


def job(job_id: str, *depends_on: str, tested: bool = True, fraction: float | None = None) -> Job:
    return Job(job_id, ("A",) if tested else (), "x", fraction, 0, None, Path(job_id), depends_on)


@pytest.fixture
def judged(folder: Path, placed: Callable[..., PlacedRecipe]) -> Callable[..., str | None]:
    """Return a function that judges jobs; `reading` has labels of slices 0 to 2 and 5, columns 0 to 63."""

    def judge(*jobs: Job, reading: str, **tested: tuple[int, int]) -> str | None:
        recipes = {reading: placed("data.source.columns=[0, 64]", "data.source.slices=[0, 3]")}
        return labels_under_test(jobs, recipes, {"A": Part(str(folder / "image.tif"), **tested)})

    return judge


def test_labels_that_are_trained_on_are_found(judged: Callable[..., str | None], folder: Path) -> None:
    said = judged(job("A/x/seed0"), reading="A/x/seed0", columns=(63, 128))
    assert said == (
        f"A/x/seed0 has labels of the part of {folder.name}/image.tif that A tests on: "
        "give data.source other slices or columns, or test on another part"
    )
    assert judged(job("A/x/seed0"), reading="A/x/seed0", columns=(64, 128)) is None
    assert judged(job("A/x/seed0", tested=False), reading="A/x/seed0") is None
    fine = judged(job("A/x-f1/seed0", fraction=1.0), reading="A/x-f1/seed0")
    assert fine is not None
    assert "give finetune.set.data.source other" in fine


def test_held_out_labels_count(judged: Callable[..., str | None]) -> None:
    assert judged(job("A/x/seed0"), reading="A/x/seed0", slices=(3, 5)) is None
    assert judged(job("A/x/seed0"), reading="A/x/seed0", slices=(5, 6)) is not None  # [validate] slices


def test_labels_reach_a_run_through_all_that_it_comes_from(judged: Callable[..., str | None]) -> None:
    first, second = job("shared/first/seed0", tested=False), job("A/second/seed0", "shared/first/seed0")
    third = job("A/third/seed0", "A/other/seed0", "A/second/seed0")
    other = job("A/other/seed0")
    said = judged(first, other, second, third, reading="shared/first/seed0")
    assert said is not None
    assert said.startswith("shared/first/seed0, from which A/second/seed0 comes, has labels of the part")
    untested = job("A/second/seed0", "shared/first/seed0", tested=False)
    said = judged(first, other, untested, third, reading="shared/first/seed0")
    assert said is not None
    assert said.startswith("shared/first/seed0, from which A/third/seed0 comes, has labels of the part")


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (
            'data.source = { image = "image.tif", mask = "mask.tif" }',
            "study.toml: A/other/seed0 has labels of",
        ),
        (
            'data.source = { image = "image.tif", mask = "mask.tif", slices = [0, 1] }',
            "A/other/seed0 has labels",
        ),
    ],
)
def test_a_plan_is_refused_whichever_arm_has_the_labels(
    study: Load, folder: Path, arm: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        plan_study(study(("loop = { steps = 4 }", f"loop.steps = 4, {arm}"), text=STUDY), folder / "out")


def test_labels_that_only_a_start_had_are_refused(study: Load, folder: Path) -> None:
    leak = 'shared = true\nprotocols = []\nset.data.source = { image = "image.tif", mask = "mask.tif" }'
    with pytest.raises(RecipeError, match="shared/strong/seed0, from which A/other/seed0 comes, has labels"):
        plan_study(study(("shared = true", leak), text=STUDY), folder / "out")


def test_a_run_taken_as_it_is_is_judged_by_what_it_recorded(
    study: Load, run_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = study(
        ("seeds = [0, 1]", "seeds = [0]"), ("shared = true", f'run = "{run_folder.name}"'), text=STUDY
    )
    assert main(["study", str(placed.path), "-o", str(folder / "out"), "--report-only"]) == 2
    said = f"shared/strong/seed0 has labels of the part of {folder.name}/image.tif that A tests on"
    assert said in capsys.readouterr().err


ONE_SEED = ("seeds = [0, 1]", "seeds = [0]")


def test_a_run_that_an_arm_names_itself_as_its_start_is_judged(
    study: Load, run_folder: Path, folder: Path
) -> None:
    begun = ('init = "strong"\nset = {', f'set = {{ init.run = "{run_folder.name}",')
    with pytest.raises(RecipeError) as caught:
        plan_study(study(ONE_SEED, begun, text=STUDY), folder / "out")
    assert str(caught.value) == (
        f"{folder / 'study.toml'}: {run_folder}, from which A/other/seed0 comes, has labels of the part of "
        f"{folder.name}/image.tif that A tests on: start or learn from another run, or test on another part"
    )


def test_a_start_in_the_base_recipe_is_judged_too(study: Load, run_folder: Path, folder: Path) -> None:
    placed = study(ONE_SEED, text=STUDY)
    placed.base["init"] = {"run": run_folder.name}
    with pytest.raises(
        RecipeError, match=rf"{re.escape(str(run_folder))}, from which shared/strong/seed0 comes, has labels"
    ):
        plan_study(placed, folder / "out")


@pytest.fixture
def second(run_folder: Path, folder: Path, study: Load, placed: Callable[..., PlacedRecipe]) -> Path:
    """Return the folder of a run on source.tif that started from `run_folder`, which has the labels."""
    study()  # makes source.tif
    other = ("data.source.image=source.tif", "data.source.mask=labels.tif", "loop.steps=2")
    train(placed(*other, f"init.run={run_folder.name}"), folder / "second")
    return folder / "second"


def test_the_starts_of_a_start_are_judged(study: Load, second: Path, run_folder: Path, folder: Path) -> None:
    begun = ('init = "strong"\nset = {', f'set = {{ init.run = "{second.name}",')
    with pytest.raises(
        RecipeError, match=rf"{re.escape(str(run_folder))}, from which A/other/seed0 comes, has labels"
    ):
        plan_study(study(ONE_SEED, begun, text=STUDY), folder / "out")


def test_a_run_taken_as_it_is_is_judged_by_what_it_comes_from_before_anything_is_trained(
    study: Load, second: Path, run_folder: Path, folder: Path
) -> None:
    taken = ("shared = true", f'run = "{second.name}"')
    with pytest.raises(
        RecipeError, match=rf"{re.escape(str(run_folder))}, from which shared/strong/seed0 comes, has labels"
    ):
        plan_study(study(ONE_SEED, taken, text=STUDY), folder / "out")


def test_a_teacher_of_a_start_is_judged(study: Load, second: Path, run_folder: Path, folder: Path) -> None:
    facts = json.loads((second / RUN_JSON).read_text())
    facts["init"], facts["teacher"], facts["recipe"]["init"] = None, facts["init"], None
    facts["recipe"]["data"]["target"] = [{"image": "source.tif", "voxel_nm": [5.0, 5.0, 5.0]}]
    facts["recipe"]["method"] = {"name": "distil", "distil": {"teacher": run_folder.name}}
    (second / RUN_JSON).write_text(json.dumps(facts))
    taken = ("shared = true", f'run = "{second.name}"')
    with pytest.raises(
        RecipeError, match=rf"{re.escape(str(run_folder))}, from which shared/strong/seed0 comes, has labels"
    ):
        plan_study(study(ONE_SEED, taken, text=STUDY), folder / "out")


def test_runs_that_were_moved_together_find_each_other(
    study: Load, second: Path, run_folder: Path, folder: Path
) -> None:
    moved = folder / "moved"
    for run in (second, run_folder):
        shutil.copytree(run, moved / run.name)
    shutil.rmtree(run_folder)
    taken = study(ONE_SEED, ("shared = true", f'run = "moved/{second.name}"'), text=STUDY)
    said = f"{moved / run_folder.name}, from which shared/strong/seed0 comes, has labels"
    with pytest.raises(RecipeError, match=re.escape(said)):
        plan_study(taken, folder / "out")
    shutil.move(second, run_folder)  # another run in the place where the start was
    with pytest.raises(RecipeError, match=re.escape(said)):
        plan_study(taken, folder / "out")
    shutil.rmtree(moved / run_folder.name)  # and that one alone: of the start nothing is known
    assert plan_study(taken, folder / "out")


def test_a_start_that_is_another_run_of_the_study_is_judged_by_its_plan(study: Load, folder: Path) -> None:
    leak = 'shared = true\nprotocols = []\nset.data.source = { image = "image.tif", mask = "mask.tif" }'
    begun = ('init = "strong"\nset = {', 'set = { init.run = "out/shared/strong/seed0",')
    with pytest.raises(RecipeError, match="shared/strong/seed0, from which A/other/seed0 comes, has labels"):
        plan_study(study(ONE_SEED, ("shared = true", leak), begun, text=STUDY), folder / "out")


def test_a_start_that_is_not_there_is_left_to_the_training(study: Load, folder: Path) -> None:
    begun = ('init = "strong"\nset = {', 'set = { init.run = "nowhere",')
    assert plan_study(study(ONE_SEED, begun, text=STUDY), folder / "out")


def test_a_damaged_start_is_named(study: Load, run_folder: Path, folder: Path) -> None:
    (run_folder / RUN_JSON).write_text("{")
    begun = ('init = "strong"\nset = {', f'set = {{ init.run = "{run_folder.name}",')
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        plan_study(study(ONE_SEED, begun, text=STUDY), folder / "out")


def test_runs_that_start_from_each_other_are_read_once(
    study: Load, second: Path, run_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = json.loads((run_folder / RUN_JSON).read_text())
    facts["recipe"] |= {"init": {"run": second.name}}
    facts["recipe"]["data"]["source"] |= {"image": "source.tif", "mask": "labels.tif"}
    (run_folder / RUN_JSON).write_text(json.dumps(facts))
    begun = ('init = "strong"\nset = {', f'set = {{ init.run = "{second.name}",')
    read: list[Path] = []
    monkeypatch.setattr(lineage, "load_run", lambda place: read.append(place.resolve()) or load_run(place))
    assert plan_study(study(ONE_SEED, begun, text=STUDY), folder / "out")
    assert set(read) == {second.resolve(), run_folder.resolve()}
    assert len(read) <= 4  # as itself, and as the start of the other
