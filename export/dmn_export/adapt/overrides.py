"""Which stages a `--set` of `dmn adapt` is laid on: those whose recipe can have the key. Pure."""

from collections.abc import Collection
from typing import Any

from dmn_runtime.errors import RecipeError
from dmn_train.recipe import laid_over

ALL, ON_TARGET = ("base", "adapt", "distil"), ("adapt", "distil")
SHARED_METHOD_KEYS = {"histogram_matching", "statistics"}
"""Keys of `[method]` that a student has too, as in `dmn distill`; all others are of one method."""
TARGET_KEYS = {"most_foreground", "target_slices"}
"""Keys of `[select]` that want a target."""
TARGET_RULES = ("solidity", "entropy")
RULE_KEYS = {"rule", "patience"}
"""Keys of `[select]` that want a target if the rule is one of these."""


def overrides_of(stage: str, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Return the overrides ("loop.batch=4") that are laid over the recipe of a stage, in their order.

    Raises:
        RecipeError: one is malformed.
    """
    by_target = _chosen_by_target(overrides)
    return tuple(one for one in overrides if stage in _stages_of(one, by_target=by_target))


def check_overrides(stages: Collection[str], overrides: tuple[str, ...]) -> None:
    """Refuse an override that no planned stage can have, or that names volumes or runs past their checks.

    Raises:
        RecipeError: there is one, or one is malformed.
    """
    for one in overrides:
        if _names_data(one):
            raise RecipeError(
                f"--set {one} names a volume or a run: say it with --source, --target or --init, and "
                "leave this out"
            )
        if not set(_stages_of(one, by_target=False)) & set(stages):
            raise RecipeError(
                f"--set {one} is for the teaching of a student, and none is taught here: leave it out, or "
                "name a --student that is smaller than what is adapted"
            )
    if _said(overrides, "method").get("name") == "distil":
        raise RecipeError(
            "--set method.name=distil: a student is taught by a stage of its own, after one that adapts: "
            "leave it out, and name a --student that is smaller than what is adapted"
        )


def _names_data(override: str) -> bool:
    data, distil = _said((override,), "data"), _said((override,), "method").get("distil")
    source = data.get("source")
    return bool(
        "target" in data
        or (isinstance(source, dict) and {"image", "mask", "valid"} & set(source))
        or (isinstance(distil, dict) and "teacher" in distil)
        or _said((override,), "init")
    )


def said_statistics(overrides: tuple[str, ...]) -> object:
    """Return what the user wants `method.statistics` to be; None where nothing is said of it."""
    return _said(overrides, "method").get("statistics")


def _stages_of(override: str, *, by_target: bool) -> tuple[str, ...]:
    """Return the stages that can have a key; whether it is a right one is for their recipes to say."""
    section = override.partition("=")[0].strip().partition(".")[0]
    keys = set(_said((override,), section))
    if section == "select":
        return ON_TARGET if keys & (TARGET_KEYS | (RULE_KEYS if by_target else set())) else ALL
    if section != "method":
        return ALL
    if override.partition("=")[0].strip() == section:  # the whole table
        return ("adapt",)
    if keys == {"distil"}:
        return ("distil",)
    return ON_TARGET if keys <= SHARED_METHOD_KEYS else ("adapt",)


def _chosen_by_target(overrides: tuple[str, ...]) -> bool:
    """Tell whether the user wants weights to be chosen by what they make of the target."""
    return _said(overrides, "select").get("rule") in TARGET_RULES


def _said(overrides: tuple[str, ...], section: str) -> dict[str, Any]:
    """Return the keys of a section that the overrides give; none where they make a value of it."""
    said = laid_over({}, overrides).get(section)
    return said if isinstance(said, dict) else {}
