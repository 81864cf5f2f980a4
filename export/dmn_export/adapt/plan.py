"""The stages of an adaptation as recipes: pure, nothing is read and nothing is written."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dmn_export.adapt.bound import bounded_method
from dmn_export.adapt.defaults import (
    BUDGETS,
    CROP_PX,
    DISTILLATION,
    DRAWN,
    LEAST_ADAPTED,
    PHANTOM_CLASS,
    STATISTICS_WITH_PHANTOMS,
    STUDENT,
    Spent,
)
from dmn_export.adapt.made_up import phantom_keys, wants_phantoms
from dmn_export.adapt.overrides import check_overrides, overrides_of, said_statistics
from dmn_export.adapt.shared_keys import shared_keys
from dmn_export.adapt.target_parts import Part, target_parts
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError
from dmn_train.networks.sizes import SIZES, NetworkSpec
from dmn_train.recipe import PlacedRecipe, laid_over, parse_recipe
from dmn_train.run import Run
from dmn_train.sections import OPTIONS
from dmn_train.student.plan import path_from

StageName = Literal["base", "adapt", "distil"]
MEANING: dict[StageName, str] = {
    "base": "learn from the labelled source",
    "adapt": "adapt to the target, without labels",
    "distil": "teach the small student",
}
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
        parts: of the target that are read.
    """

    stages: tuple[Stage, ...]
    adapted: Path
    final: Path
    parts: tuple[Part, ...]

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
        UsageError: the student is larger than the network that it would learn from, or `wishes.init` is of
            another class.
        RecipeError: an override is wrong.
    """
    final = file_name(name)
    student = _network(wishes, base)
    adapted = base.spec if base is not None else max(student, SIZES[LEAST_ADAPTED], key=_width)
    if _width(student) > _width(adapted):
        raise UsageError(
            f"--student is larger (base {student.base}) than the network of --init {wishes.init} (base "
            f"{adapted.base}), and a student learns from a network at least as large: leave out --student, "
            "or --init"
        )
    distils = student != adapted
    wanted: list[StageName] = ["base"] if base is None else []
    wanted += ["adapt", "distil"] if distils else ["adapt"]
    check_overrides(wanted, wishes.overrides)
    shared = shared_keys(wishes, volumes, base)
    # What the user lays over it decides what the made-up volumes and the target's parts are like.
    settled = laid_over(shared, wishes.overrides)
    working = settled.get("working_voxel_nm")
    made_up = wants_phantoms(wishes.phantoms, settled.get("class_name", PHANTOM_CLASS))
    parts = target_parts(volumes.target_shape, volumes.target_nm, _positive(working), wishes.target_slices)
    target = {"target": [_target(volumes, part) for part in parts]}
    statistics = {"statistics": STATISTICS_WITH_PHANTOMS} if made_up else {}
    most = wishes.most_foreground
    method = bounded_method(most, overrides_of("adapt", wishes.overrides))
    bound = {} if most is None else {"select": {"most_foreground": most}}
    start = "base" if wishes.init is None else path_from(work.resolve(), wishes.init)
    own: dict[StageName, dict[str, Any]] = {
        "base": {"name": f"{final}-base", "network": _numbers(adapted)},
        "adapt": {
            "name": f"{final}-adapted" if distils else final,
            "network": _numbers(adapted),
            "data": target,
            "init": {"run": start},
            # A method without a table of its own has statistics of the target alone.
            "method": {**method, **(statistics if method["name"] in OPTIONS else {})},
            **bound,
        },
        "distil": {
            "name": final,
            "network": _numbers(student),
            "data": target,
            "method": {"name": "distil", **statistics, "distil": _distillation(statistics, wishes)},
            **bound,
        },
    }
    stages = []
    for stage in wanted:
        extra = phantom_keys(stage, working or volumes.source_nm[1]) if made_up else ({}, {})
        values = {**shared, **own[stage], **_spent(stage, wishes)}
        values["data"] = {**shared["data"], **own[stage].get("data", {}), **extra[0]}
        values["loop"] = {**values["loop"], **extra[1]}
        stages.append(_stage(stage, values, wishes, work))
    return Plan(tuple(stages), work / "adapt", stages[-1].folder, parts)


def _positive(working: object) -> float | None:
    """Return a length that an override may have made anything; the recipe's check refuses what is none."""
    return float(working) if isinstance(working, int | float) and working > 0 else None


def file_name(name: str) -> str:
    """Return a name that a recipe may have."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")
    return cleaned or "adapted"


def _stage(name: StageName, values: dict[str, Any], wishes: AdaptWishes, work: Path) -> Stage:
    laid = laid_over(values, overrides_of(name, wishes.overrides))
    recipe = parse_recipe(laid, f"the recipe of stage {name}")
    return Stage(name, PlacedRecipe(recipe, work.resolve()), work / name)


def _distillation(statistics: dict[str, str], wishes: AdaptWishes) -> dict[str, Any]:
    """Return `[method.distil]`; statistics that serve both domains are not taken anew on the target alone."""
    shared = (
        said_statistics(overrides_of("distil", wishes.overrides)) or statistics.get("statistics")
    ) == "shared"
    return {"teacher": "adapt", **DISTILLATION, **({"recalibrate_crops": 0} if shared else {})}


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


def _target(volumes: Volumes, part: Part) -> dict[str, Any]:
    """Return one table of `data.target`; what is read whole needs no ranges."""
    target: dict[str, Any] = {"image": volumes.target, "voxel_nm": list(volumes.target_nm)}
    if part.slices != (0, volumes.target_shape[0]):
        target["slices"] = list(part.slices)
    if part.columns is not None:
        target["columns"] = list(part.columns)
    return target


def _spent(stage: StageName, wishes: AdaptWishes) -> dict[str, Any]:
    spent: Spent = getattr(BUDGETS[wishes.budget], stage)
    loop = {
        "steps": spent.steps,
        "batch": spent.batch,
        "crop_px": CROP_PX,
        "foreground_share": DRAWN[stage].foreground_share,
        "seed": wishes.seed,
        "validate_every": max(1, spent.steps // VALIDATIONS),
        "checkpoint_every": 50,
    }
    return {"loop": loop, "optimiser": {"lr": spent.lr, "warmup_steps": spent.warmup_steps}}
