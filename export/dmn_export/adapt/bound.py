"""The bound on the foreground of the target: what a user may say of it, where it goes, what is told."""

from copy import deepcopy
from typing import Any

from dmn_export.adapt.defaults import ADAPTATION, MOST_FOREGROUND
from dmn_train.recipe import Recipe, laid_over

NO_BOUND = "none"
SELF_TRAINING = ("mean_teacher", "dismemnet")
"""Methods whose labels of the target can be bounded."""


def parse_bound(text: str) -> float | str | None:
    """Return a share, None for no bound, or the text: times the source's, or what is refused later."""
    if text == NO_BOUND:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def bounded_method(bound: float | str | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return the `[method]` of the adaptation; if it makes labels of the target, these are bounded."""
    method = deepcopy(ADAPTATION)
    laid = laid_over({"method": method}, overrides)["method"]
    if not isinstance(laid, dict):
        return method  # the recipe's check refuses what the user made of it
    name = laid.get("name")
    if name != method["name"]:
        method = {"name": name}  # the options of the one that it takes the place of have no meaning for it
    if bound is not None and name in SELF_TRAINING:
        options = method.setdefault(name, {})
        options["labels"] = {**options.get("labels", {}), "most_foreground": bound}
    return method


def bound_words(recipe: Recipe) -> str | None:
    """Return one sentence on the default bound; None where the last stage's recipe has another or none."""
    if recipe.select.most_foreground != MOST_FOREGROUND:
        return None
    times = MOST_FOREGROUND.removesuffix("x")
    return (
        f"at most {times} times the source's share of foreground is looked for in the target "
        f"(--most-foreground says otherwise, and --most-foreground {NO_BOUND} that there is no bound)"
    )
