"""The settings of the memory, as plain values."""

from dataclasses import dataclass
from typing import Literal

from dmn_runtime.errors import RecipeError

MOST_SLOTS = 16


@dataclass(frozen=True)
class StructureSpec:
    """Which classes a mask falls into.

    Attributes:
        classes: 4: interior, boundary band, near and far background; 2: foreground and background (CAFA).
        band_px: foreground at most so far from the background is boundary band.
        near_px: background at most so far from the foreground is near.
    """

    classes: Literal[2, 4] = 4
    band_px: int = 3
    near_px: int = 8


@dataclass(frozen=True)
class BankSpec:
    """What is remembered, and for how long.

    Attributes:
        kind: persistent: slots move by momentum; batch: each batch makes its own, as in CAFA.
        slots: prototypes of a class, K; 1 to 16.
        width: length of a vector, d.
        first_momentum: m of the first update,
        last_momentum: of that after `rise_updates` and of all later ones.
        rise_updates: over which 1 - m falls, by the same factor at each update.
        dead_updates: without a vector after which a slot is taken to another place.
        rounds: of k-means.
    """

    kind: Literal["persistent", "batch"] = "persistent"
    slots: int = 8
    width: int = 64
    first_momentum: float = 0.99
    last_momentum: float = 0.999
    rise_updates: int = 1000
    dead_updates: int = 500
    rounds: int = 20


@dataclass(frozen=True)
class RetrievalSpec:
    """How sharply prototypes are told apart.

    Attributes:
        slot_temperature: tau_m, between the slots of a class.
        class_temperature: tau_q, between classes.
    """

    slot_temperature: float = 0.1
    class_temperature: float = 0.1


RefineRule = Literal["none", "multiply", "disagreement_ignore", "multiply_and_ignore"]


@dataclass(frozen=True)
class RefineSpec:
    """What the memory does to a teacher's probabilities (`refine.py`).

    Attributes:
        rule: none: nothing; multiply: it shifts them; disagreement_ignore: pixels that it sees in the other
            class do not count; multiply_and_ignore: both.
        first_power: eta at the start of the run,
        last_power: at its end; it rises evenly.
        least: probability of the likelier class from which a pixel counts.
    """

    rule: RefineRule = "multiply_and_ignore"
    first_power: float = 0.5
    last_power: float = 1.0
    least: float = 0.8


def check_memory(
    structure: StructureSpec, bank: BankSpec, retrieval: RetrievalSpec, refine: RefineSpec
) -> None:
    """Raise where settings make no sense, whoever gave them.

    Raises:
        RecipeError: a number is outside its range.
    """
    rules = (
        (structure.classes in (2, 4), f"{structure.classes} structure classes: give 2 or 4"),
        (1 <= structure.band_px <= 64, f"a boundary band of {structure.band_px} px: give 1 to 64"),
        (1 <= structure.near_px <= 64, f"a near background of {structure.near_px} px: give 1 to 64"),
        (1 <= bank.slots <= MOST_SLOTS, f"{bank.slots} slots a class: give 1 to {MOST_SLOTS}"),
        (bank.width >= 2, f"vectors of length {bank.width}: give 2 or more"),
        (
            0.0 <= bank.first_momentum <= bank.last_momentum < 1.0,
            f"momentum from {bank.first_momentum:g} to {bank.last_momentum:g}: give 0 to below 1, rising",
        ),
        (
            min(bank.rise_updates, bank.dead_updates, bank.rounds) >= 1,
            f"{bank.rise_updates} updates of rising momentum, {bank.dead_updates} until a slot is dead and "
            f"{bank.rounds} rounds of k-means: give 1 or more of each",
        ),
        (
            min(retrieval.slot_temperature, retrieval.class_temperature) > 0.0,
            f"temperatures of {retrieval.slot_temperature:g} and {retrieval.class_temperature:g}: "
            "give more than 0 for both",
        ),
        (
            0.0 <= refine.first_power <= refine.last_power,
            f"powers from {refine.first_power:g} to {refine.last_power:g}: give 0 or more, rising",
        ),
        (0.5 <= refine.least < 1.0, f"a least probability of {refine.least:g}: give 0.5 or more, below 1"),
    )
    for holds, found in rules:
        if not holds:
            raise RecipeError(f"the memory is to have {found}")
