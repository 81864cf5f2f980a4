"""The finished run that teaches a student (`method.distil.teacher` of a recipe)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_runtime.errors import RecipeError
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run


@dataclass(frozen=True)
class TeacherRun:
    """Who teaches.

    Attributes:
        network: the run's, in eval mode.
        facts: for run.json: name, method, seed, steps and weights_sha256 of the run, and its network's facts.
    """

    network: UNet
    facts: dict[str, Any]


def find_teacher(placed: PlacedRecipe) -> TeacherRun | None:
    """Read the run that a recipe learns from; None where its method has no such teacher.

    Raises:
        RunError: it is no finished run, or damaged.
        RecipeError: it sees other input than the student, or has other levels where they are compared.
    """
    recipe, options = placed.recipe, placed.recipe.method.distil
    if options is None:
        return None
    run = load_run(Path(placed.locate(options.teacher)))
    for key, found, wanted in (
        ("network.context_slices", run.spec.context_slices, recipe.network.spec.context_slices),
        ("working_voxel_nm", run.working_voxel_nm, recipe.working_voxel_nm),
        ("normalisation", run.normalisation, recipe.normalisation.rule),
    ):
        if found != wanted:
            raise RecipeError(
                f"method.distil.teacher {options.teacher} has {key} {found} and the recipe wants {wanted}: "
                "teacher and student must see the same input"
            )
    _check_levels(run.spec, recipe.network.spec, options.teacher, compares=options.attention > 0.0)
    facts = {key: run.facts[key] for key in ("name", "method", "seed", "steps", "weights_sha256", "network")}
    return TeacherRun(run.network(), facts)


def _check_levels(teacher: NetworkSpec, student: NetworkSpec, name: str, *, compares: bool) -> None:
    if compares and teacher.levels != student.levels:
        raise RecipeError(
            f"method.distil.teacher {name} has {teacher.levels} levels and the student {student.levels}, so "
            "their attention maps cannot be compared: set method.distil.attention to 0, or network.levels "
            "alike"
        )
