"""What `dmn adapt` does unless it is told otherwise: the one place to change when a study has decided."""

from dataclasses import dataclass
from typing import Any

ADAPTATION: dict[str, Any] = {"name": "mean_teacher", "mean_teacher": {"align": "dann"}}
"""The `[method]` of the adaptation: labels of a moving average, and discriminators beside it."""

STUDENT = "s16"
LEAST_ADAPTED = "s16"
"""A smaller student is not adapted itself but taught by a network of this size."""

LEAST_WORKING_NM = 10.0
CROP_PX = 160


@dataclass(frozen=True)
class Spent:
    """What one stage may spend: steps of the optimiser, crops a step, peak of the rate, steps of warm-up."""

    steps: int
    batch: int
    lr: float
    warmup_steps: int


@dataclass(frozen=True)
class Budget:
    """What the stages may spend."""

    base: Spent
    adapt: Spent
    distil: Spent


BUDGETS: dict[str, Budget] = {
    "quick": Budget(Spent(500, 8, 3e-3, 50), Spent(200, 4, 1e-3, 20), Spent(400, 4, 3e-3, 40)),
    "standard": Budget(Spent(2000, 8, 3e-3, 100), Spent(600, 4, 1e-3, 20), Spent(1000, 4, 3e-3, 100)),
    "thorough": Budget(Spent(4000, 8, 3e-3, 100), Spent(2000, 8, 1e-3, 50), Spent(4000, 8, 3e-3, 200)),
}
