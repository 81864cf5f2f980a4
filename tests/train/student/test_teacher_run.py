"""Who teaches: a run that sees the same input, recorded by its weights; everything else is one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.errors import OutputError, RecipeError, RunError
from dmn_train.loop import Progress, train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.start import find_start
from dmn_train.student.teacher_run import find_teacher

Placed = Callable[..., PlacedRecipe]
TAUGHT = (
    "data.target.image=target.tif",
    "data.target.voxel_nm=[5,5,5]",
    "method.name=distil",
    "method.distil.teacher=teacher",
    "loop.crop_px=16",
)


def test_other_methods_have_no_teacher(placed: Placed) -> None:
    assert find_teacher(placed()) is None
    assert find_start(placed()).teacher is None


def test_a_student_of_another_width_is_taught_and_says_by_whom(
    placed: Placed, folder: Path, teacher: Path
) -> None:
    train(placed(*TAUGHT), folder / "student")
    run, of_teacher = load_run(folder / "student"), load_run(teacher)
    assert (run.spec.base, of_teacher.spec.base) == (2, 4)
    assert run.facts["teacher"]["weights_sha256"] == of_teacher.facts["weights_sha256"]
    assert (run.facts["teacher"]["name"], run.facts["teacher"]["method"]) == ("tiny", "adabn")
    assert of_teacher.facts["teacher"] is None


def test_a_killed_student_resumes_to_the_same_bits_and_not_with_another_teacher(
    placed: Placed, folder: Path, teacher: Path
) -> None:
    def die(told: Progress) -> None:
        if told.done == 5:
            raise RuntimeError("killed")

    train(placed(*TAUGHT), folder / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(placed(*TAUGHT), folder / "run", tell=die)
    kept = teacher.rename(folder / "kept")
    train(placed("network.base=4", *TAUGHT[:2], "method.name=adabn", "loop.steps=2"), teacher)
    with pytest.raises(RunError, match="was started with other data"):
        train(placed(*TAUGHT), folder / "run", resume=True)
    teacher.rename(folder / "wrong")
    kept.rename(teacher)
    train(placed(*TAUGHT), folder / "run", resume=True)
    one, two = ((folder / name / "weights.safetensors").read_bytes() for name in ("whole", "run"))
    assert one == two


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("network.context_slices=1", r"has network\.context_slices 0 and the recipe wants 1"),
        ("working_voxel_nm=8.0", r"has working_voxel_nm 10\.0 and the recipe wants 8\.0"),
        ("normalisation.clip=3.0", "teacher and student must see the same input"),
        ("network.levels=3", "has 2 levels and the student 3, so their attention maps cannot be compared"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    placed: Placed, teacher: Path, override: str, sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        find_start(placed(*TAUGHT, override))


@pytest.mark.usefixtures("teacher")
def test_without_attention_the_levels_may_differ(placed: Placed) -> None:
    recipe = placed(*TAUGHT, "network.levels=3", "method.distil.attention=0.0")
    assert find_start(recipe).teacher is not None


def test_the_teacher_is_never_overwritten_by_its_student(placed: Placed, teacher: Path) -> None:
    before = (teacher / "run.json").read_bytes()
    with pytest.raises(OutputError, match="is the run that this one starts from, so it is kept"):
        train(placed(*TAUGHT), teacher, overwrite=True)
    assert (teacher / "run.json").read_bytes() == before


def test_a_missing_teacher_is_one_sentence(placed: Placed, folder: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        find_start(placed(*TAUGHT))
    with pytest.raises(RecipeError, match=r"method\.distil\.teacher is missing, add it"):
        placed(*TAUGHT[:3])
    assert not (folder / "run").exists()
