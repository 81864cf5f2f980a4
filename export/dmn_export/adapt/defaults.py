"""What `dmn adapt` does unless it is told otherwise: the one place to change when a study has decided."""

from dataclasses import dataclass
from typing import Any

ADAPTATION: dict[str, Any] = {"name": "dismemnet", "dismemnet": {"translation": {"kind": "none"}}}
"""The `[method]` of the adaptation: labels of a moving average, refined by a memory, and distillation. The
translation takes 40 % of a run's time for -0.006 to 0.010 of foreground IoU (docs/results/dismemnet.md)."""

DISTILLATION: dict[str, Any] = {"views": 2}
"""Options of `[method.distil]`: eight views a label would cost four times as many passes of the teacher."""

STATISTICS_WITH_PHANTOMS = "shared"
"""`method.statistics` where made-up volumes make the source many-sided; from one volume alone they are the
target's own."""

MOST_FOREGROUND = "1.5x"
"""Of the target, times the source's share: a bound on labels and threshold. EPFL to VNC, where the share is
about the source's, does not reach it; EPFL to CDeep3M and VNC to EPFL find far too much without one
(docs/results/dismemnet.md)."""

STUDENT = "s16"
LEAST_ADAPTED = "s16"
"""A smaller student is not adapted itself but taught by a network of this size."""

LEAST_WORKING_NM = 10.0
CROP_PX = 160

PHANTOM_CLASS = "mitochondrion"
"""The class that made-up volumes hold; for any other they are left out."""
PHANTOM_SHARE = 0.8
"""Of the source's crops, those that are cut from made-up volumes."""
PHANTOM_SHAPE = (3, 384, 384)

TARGET_VOXELS = 2**30
"""Of the target's raw voxels as many are read, or fewer; in memory they lie once raw and once resampled."""
TARGET_BLOCKS = 8
"""Blocks of slices that these lie in, spread over the volume."""
SLICE_PX = 2**22
"""Pixels, on the working grid, that are put through the network at once; wider slices are cut into strips."""


@dataclass(frozen=True)
class Spent:
    """What one stage may spend: steps of the optimiser, crops a step, peak of the rate, steps of warm-up."""

    steps: int
    batch: int
    lr: float
    warmup_steps: int


@dataclass(frozen=True)
class Drawn:
    """What the source's crops of one stage are drawn from.

    Attributes:
        phantoms: how many made-up volumes there are beside it, where there are any; a second each to draw.
        foreground_share: of crops that lie around a foreground voxel. With some, a network learns that
            foreground is frequent, which makes up for a target that it recognises badly, and goes too far on
            one that it recognises well.
    """

    phantoms: int
    foreground_share: float


DRAWN: dict[str, Drawn] = {"base": Drawn(80, 0.5), "adapt": Drawn(24, 0.0), "distil": Drawn(24, 0.0)}


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
