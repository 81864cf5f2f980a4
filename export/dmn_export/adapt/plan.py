"""The stages of an adaptation as recipes: pure, nothing is read and nothing is written."""

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dmn_export.adapt.defaults import (
    ADAPTATION,
    BUDGETS,
    CROP_PX,
    LEAST_ADAPTED,
    LEAST_WORKING_NM,
    STUDENT,
    Spent,
)
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError
from dmn_train.networks.sizes import SIZES, NetworkSpec
from dmn_train.recipe import PlacedRecipe, laid_over, parse_recipe
from dmn_train.run import Run
from dmn_train.student.plan import path_from, without_nones

StageName = Literal["base", "adapt", "distil"]
MEANING: dict[StageName, str] = {
    "base": "learn from the labelled source",
    "adapt": "adapt to the target, without labels",
    "distil": "teach the small student",
}
LEAST_SLICES = 10  # fewer are all trained on
HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 8
VALIDATIONS = 4


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name: also of its folder.
        placed: its recipe; paths start at the work folder.
        folder: its run folder.
    """

    name: StageName
    placed: PlacedRecipe
    folder: Path


@dataclass(frozen=True)
class Plan:
    """All trainings, in order.

    Attributes:
        stages: two or three of them, or one less with a run to start from.
        adapted: the run folder of the adapted network.
        final: the run folder that is packed: the student's, or the adapted network's.
    """

    stages: tuple[Stage, ...]
    adapted: Path
    final: Path

    @property
    def distils(self) -> bool:
        """Tell whether a student is taught."""
        return self.final != self.adapted


def plan_stages(
    wishes: AdaptWishes, volumes: Volumes, name: str, work: Path, base: Run | None = None
) -> Plan:
    """Return what is to be trained.

    Args:
        wishes: of the user.
        volumes: looked at.
        name: of the package.
        work: folder that the runs are written to.
        base: the run of `wishes.init`.

    Raises:
        UsageError: the student is larger than the network that it would learn from.
        RecipeError: an override is wrong.
    """
    budget, final = BUDGETS[wishes.budget], file_name(name)
    student = _network(wishes, base)
    adapted = base.spec if base is not None else max(student, SIZES[LEAST_ADAPTED], key=_width)
    if _width(student) > _width(adapted):
        raise UsageError(
            f"--student is larger (base {student.base}) than the network of --init {wishes.init} (base "
            f"{adapted.base}), and a student learns from a network at least as large: leave out --student, "
            "or --init"
        )
    distils = student != adapted
    common = _common(volumes, base)
    target = {"image": volumes.target, "voxel_nm": list(volumes.target_nm)}
    first = {**common, "name": f"{final}-base", "network": _numbers(adapted), **_spent(budget.base, wishes)}
    start = "base" if wishes.init is None else path_from(work.resolve(), wishes.init)
    second = {
        **common,
        "name": f"{final}-adapted" if distils else final,
        "network": _numbers(adapted),
        "data": {**common["data"], "target": [target]},
        "init": {"run": start},
        "method": deepcopy(ADAPTATION),
        **_spent(budget.adapt, wishes),
    }
    third = {
        **common,
        "name": final,
        "network": _numbers(student),
        "data": {**common["data"], "target": [target]},
        "method": {"name": "distil", "distil": {"teacher": "adapt"}},
        **_spent(budget.distil, wishes),
    }
    wanted: list[tuple[StageName, dict[str, Any]]] = [] if base is not None else [("base", first)]
    wanted += [("adapt", second), *([("distil", third)] if distils else [])]  # type: ignore[list-item]
    stages = tuple(_stage(stage, values, wishes, work) for stage, values in wanted)
    return Plan(stages, work / "adapt", stages[-1].folder)


def file_name(name: str) -> str:
    """Return a name that a recipe may have."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")
    return cleaned or "adapted"


def _stage(name: StageName, values: dict[str, Any], wishes: AdaptWishes, work: Path) -> Stage:
    laid = laid_over(values, wishes.overrides)
    recipe = parse_recipe(laid, f"the recipe of stage {name}")
    return Stage(name, PlacedRecipe(recipe, work.resolve()), work / name)


def _network(wishes: AdaptWishes, base: Run | None) -> NetworkSpec:
    """Return the network that is packed; one that is taught has the levels and slices of `base`."""
    if base is None:
        return SIZES[wishes.student or STUDENT]
    if wishes.student is None:
        return base.spec
    return NetworkSpec(SIZES[wishes.student].base, base.spec.levels, base.spec.context_slices)


def _width(spec: NetworkSpec) -> int:
    return spec.base


def _numbers(spec: NetworkSpec) -> dict[str, int]:
    return {"base": spec.base, "levels": spec.levels, "context_slices": spec.context_slices}


def _common(volumes: Volumes, base: Run | None) -> dict[str, Any]:
    """Return what all stages share: input, labelled source, held-out slices."""
    files = volumes.source
    voxel_nm = list(volumes.source_nm)
    source = {"image": files.image, "mask": files.mask, "valid": files.valid, "voxel_nm": voxel_nm}
    common: dict[str, Any] = {"data": {"source": source}}
    if base is None:
        common["working_voxel_nm"] = working_nm(volumes)
        common["validate"] = _held_out(volumes.source_shape[0])
    else:
        recipe = without_nones(base.placed.recipe.as_json())
        kept = ("working_voxel_nm", "normalisation", "class_name")
        common |= {key: recipe[key] for key in kept if key in recipe}
        common["validate"] = _held_out_before(volumes, base)
    given: dict[str, Any] = without_nones(common)
    return given


def working_nm(volumes: Volumes) -> float:
    """Return the pixel size that the network works at: 10 nm, or that of a volume that is coarser."""
    return max(LEAST_WORKING_NM, *volumes.source_nm[1:], *volumes.target_nm[1:])


def _held_out(count: int) -> dict[str, Any] | None:
    """Hold out the last tenth of the source's slices, 8 at most; none of a handful."""
    if count < LEAST_SLICES:
        return None
    return {"slices": [count - min(MOST_HELD_OUT, int(HELD_OUT_SHARE * count)), count]}


def _held_out_before(volumes: Volumes, base: Run) -> dict[str, Any] | None:
    """Hold out what the run that is started from held out of the same source; else nothing."""
    before = base.placed.recipe
    image, validate = before.data.source.image, before.validate_
    if image is None or validate is None or validate.slices is None:
        return None
    same = Path(base.placed.locate(image)).resolve() == Path(volumes.source.image)
    return {"slices": list(validate.slices)} if same else None


def _spent(spent: Spent, wishes: AdaptWishes) -> dict[str, Any]:
    loop = {
        "steps": spent.steps,
        "batch": spent.batch,
        "crop_px": CROP_PX,
        "seed": wishes.seed,
        "validate_every": max(1, spent.steps // VALIDATIONS),
        "checkpoint_every": 50,
    }
    return {"loop": loop, "optimiser": {"lr": spent.lr, "warmup_steps": spent.warmup_steps}}
