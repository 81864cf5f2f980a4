"""The recipe of a student, made from the run of its teacher."""

import os
from pathlib import Path
from typing import Any

from dmn_runtime.errors import RecipeError
from dmn_train.recipe import PlacedRecipe, laid_over, parse_recipe
from dmn_train.run import Run

STEPS = 1000
WARMUP_SHARE = 0.1
LR = 3e-3


def student_recipe(
    teacher: Run,
    student: str,
    *,
    steps: int = STEPS,
    init: Path | None = None,
    overrides: tuple[str, ...] = (),
) -> PlacedRecipe:
    """Return the recipe by which a student learns from a finished, adapted run.

    Data, input, augmentation and loss are the teacher's; network, method, optimiser and choice of weights
    are the student's own.

    Args:
        teacher: the run.
        student: "s8", "s16" or "s32".
        steps: of the optimiser.
        init: a finished run of such a student, whose weights are the first; None starts at random.
        overrides: laid over it all, as "loop.batch=4".

    Raises:
        RecipeError: the run has no target; an override, or what comes of it, is wrong.
    """
    if not teacher.placed.recipe.data.target:
        raise RecipeError(
            f"{teacher.folder} has no target volume, so there is nothing to teach a student on: name a run "
            "that was adapted, or adapt it first (dmn train with data.target)"
        )
    values = without_nones(teacher.placed.recipe.as_json())
    folder = teacher.placed.folder
    values["name"] = f"{teacher.name}-{student}"
    values["network"] = {"name": student, "context_slices": teacher.spec.context_slices}
    values["method"] = {
        key: values["method"][key] for key in ("histogram_matching", "statistics") if key in values["method"]
    }
    values["method"] |= {"name": "distil", "distil": {"teacher": path_from(folder, teacher.folder)}}
    if values["method"].get("statistics") == "shared":
        # Statistics of the target alone are not those that such a student learns with.
        values["method"]["distil"]["recalibrate_crops"] = 0
    values["optimiser"] = {"lr": LR, "warmup_steps": int(WARMUP_SHARE * steps)}
    values["loop"]["steps"] = steps
    # What is known of the target's foreground holds for the student too; how weights are chosen does not.
    values["select"] = {key: values["select"][key] for key in ("most_foreground",) if key in values["select"]}
    values.pop("init", None)
    if init is not None:
        values["init"] = {"run": path_from(folder, init)}
    return PlacedRecipe(parse_recipe(laid_over(values, overrides), "the student's recipe"), folder)


def path_from(folder: Path, path: Path) -> str:
    """Return `path` as a recipe in `folder` names it: relative, or whole across drives and links."""
    try:
        relative = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()
    # A recipe's paths are joined to its folder as it is written: above a link that would lead elsewhere.
    return relative if folder == folder.resolve() else path.resolve().as_posix()


def without_nones(value: Any) -> Any:
    """Return a recipe's JSON without the keys that are not given, so that keys can be laid over sections."""
    if isinstance(value, dict):
        return {key: without_nones(v) for key, v in value.items() if v is not None}
    return [without_nones(v) for v in value] if isinstance(value, list) else value
