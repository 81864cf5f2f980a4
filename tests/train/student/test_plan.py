"""The recipe of a student: the teacher's data and input, a network and a method of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.student.plan import path_from, student_recipe


def test_data_and_input_are_the_teachers(teacher: Path) -> None:
    run = load_run(teacher)
    made = student_recipe(run, "s8", steps=200)
    recipe, before = made.recipe, run.placed.recipe
    assert made.folder == run.placed.folder
    assert (recipe.data, recipe.validate_, recipe.augment) == (before.data, before.validate_, before.augment)
    assert (recipe.working_voxel_nm, recipe.normalisation) == (before.working_voxel_nm, before.normalisation)
    assert (recipe.name, recipe.network.spec.base, recipe.network.spec.levels) == ("tiny-s8", 8, 3)
    assert recipe.method.name == "distil"
    assert recipe.method.distil is not None
    assert recipe.method.distil.teacher == "teacher"
    assert (recipe.loop.steps, recipe.loop.batch, recipe.optimiser.warmup_steps) == (200, 4, 20)
    assert (recipe.init, recipe.select.rule) == (None, "last")


def test_overrides_and_init_are_laid_over(teacher: Path) -> None:
    made = student_recipe(
        load_run(teacher),
        "s16",
        init=teacher.parent / "small",
        overrides=("loop.steps=7", "method.distil.views=2", "network={base=2, levels=2}"),
    ).recipe
    assert (made.loop.steps, made.network.spec.base) == (7, 2)
    assert made.method.distil is not None
    assert made.method.distil.views == 2
    assert made.init is not None
    assert made.init.run == "small"
    with pytest.raises(
        RecipeError, match=r"unknown key method\.distil\.view; did you mean method\.distil\.views"
    ):
        student_recipe(load_run(teacher), "s8", overrides=("method.distil.view=2",))


@pytest.mark.usefixtures("teacher")
def test_shared_statistics_are_the_students_too_and_stay(
    placed: Callable[..., PlacedRecipe], folder: Path
) -> None:
    target = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]")
    shared = ("method.name=coral", "method.statistics=shared", "loop.steps=1", "network.base=4")
    train(placed(*target, *shared), folder / "shared")
    small = ("network={base=2, levels=2}", "loop.validate_every=2")
    made = student_recipe(load_run(folder / "shared"), "s8", steps=2, overrides=small)
    options = made.recipe.method.distil
    assert options is not None
    assert (made.recipe.method.statistics, options.recalibrate_crops) == ("shared", 0)
    train(made, folder / "student")
    assert load_run(folder / "student").facts["steps"] == 2


@pytest.mark.usefixtures("teacher")
def test_a_bound_on_the_foreground_holds_for_the_student_too(
    placed: Callable[..., PlacedRecipe], folder: Path
) -> None:
    keys = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "select.most_foreground=0.1")
    train(placed(*keys, "method.name=adabn", "loop.steps=1", "select.keep=1"), folder / "bounded")
    made = student_recipe(load_run(folder / "bounded"), "s8").recipe.select
    assert (made.most_foreground, made.keep) == (0.1, 0)


def test_a_run_without_a_target_teaches_nothing(placed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    train(placed("loop.steps=1"), tmp_path / "plain")
    with pytest.raises(RecipeError, match="has no target volume, so there is nothing to teach a student on"):
        student_recipe(load_run(tmp_path / "plain"), "s8")


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    assert path_from(tmp_path / "recipes", tmp_path / "runs" / "a") == "../runs/a"
