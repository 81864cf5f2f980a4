"""No run may have learned from labels of what it is tested on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_runtime.errors import RecipeError
from dmn_train.recipe import PlacedRecipe
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
    with pytest.raises(RecipeError, match=said):
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
