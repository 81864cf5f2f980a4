"""Made-up volumes beside the source: where they are right, and the keys of the recipe that ask for them."""

from typing import Any

from dmn_export.adapt.defaults import DRAWN, PHANTOM_CLASS, PHANTOM_SHAPE, PHANTOM_SHARE
from dmn_train.recipe import Recipe


def wants_phantoms(wish: bool | None, class_name: object) -> bool:
    """Tell whether made-up volumes are drawn: as the user says, else where the class is what they hold."""
    return class_name == PHANTOM_CLASS if wish is None else wish


def phantom_keys(stage: str, pixel_nm: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what belongs into `data` and into `loop` of a stage's recipe.

    Args:
        stage: its name.
        pixel_nm: what the network works at; there is nothing to resample then.
    """
    extra = {"count": DRAWN[stage].phantoms, "shape": list(PHANTOM_SHAPE), "voxel_nm": pixel_nm}
    return {"extra": extra}, {"extra_share": PHANTOM_SHARE}


def phantom_words(recipe: Recipe, wish: bool | None) -> str:
    """Return one sentence on whether the source's crops are made up, and why."""
    about = f"the class is {recipe.class_name}"
    if recipe.data.extra is not None:
        words = (
            f"{about}: {recipe.loop.extra_share:.0%} of the crops to learn from are of made-up volumes that "
            "hold mitochondria"
        )
        return words + ("" if wish else " (--no-phantoms leaves them out)")
    if wish is None and recipe.class_name != PHANTOM_CLASS:
        return f"{about}: no made-up volumes, since these hold mitochondria (--phantoms takes them anyway)"
    return f"{about}: no made-up volumes"
