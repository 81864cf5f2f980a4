"""Settings that make no sense are refused in a sentence."""

from dataclasses import replace

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.memory.options import BankSpec, RefineSpec, RetrievalSpec, StructureSpec, check_memory

GOOD = (StructureSpec(), BankSpec(), RetrievalSpec(), RefineSpec())


def test_the_defaults_and_the_extremes_are_fine() -> None:
    check_memory(*GOOD)
    for slots in (1, 16):
        check_memory(StructureSpec(classes=2), BankSpec(kind="batch", slots=slots), *GOOD[2:])


@pytest.mark.parametrize(
    ("at", "key", "value", "told"),
    [
        (0, "classes", 3, "3 structure classes: give 2 or 4"),
        (0, "band_px", 0, "a boundary band of 0 px: give 1 to 64"),
        (0, "near_px", 65, "a near background of 65 px: give 1 to 64"),
        (1, "slots", 17, "17 slots a class: give 1 to 16"),
        (1, "width", 1, "vectors of length 1: give 2 or more"),
        (1, "first_momentum", 0.9999, "momentum from 0.9999 to 0.999: give 0 to below 1, rising"),
        (1, "last_momentum", 1.0, "momentum from 0.99 to 1: give 0 to below 1, rising"),
        (1, "rounds", 0, "0 rounds of k-means: give 1 or more of each"),
        (2, "class_temperature", 0.0, "temperatures of 0.1 and 0: give more than 0 for both"),
        (3, "first_power", 2.0, "powers from 2 to 1: give 0 or more, rising"),
        (3, "least", 1.0, "a least probability of 1: give 0.5 or more, below 1"),
    ],
)
def test_others_are_refused(at: int, key: str, value: float, told: str) -> None:
    given = [replace(spec, **{key: value}) if place == at else spec for place, spec in enumerate(GOOD)]
    with pytest.raises(RecipeError, match=told):
        check_memory(*given)  # type: ignore[arg-type]
