"""What the user of `dmn adapt` may say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmn_export.adapt.defaults import MOST_FOREGROUND
from dmn_runtime.geometry import Spacing

Size = Literal["s8", "s16", "s32"]
BudgetName = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class AdaptWishes:
    """What is adapted to what, and how much may be spent on it.

    Attributes:
        source: a folder, or IMAGE::MASK.
        target: the unlabelled volume.
        source_voxel_nm: zyx; None: the file's.
        target_voxel_nm: likewise.
        student: size of the network that is packed; None: that of `init`, or the default.
        budget: how long to train.
        init: a finished run on the source, in place of the first stage.
        seed: of everything that is drawn.
        overrides: laid over the recipe of every stage, as "loop.batch=4".
        class_name: what the foreground is; None: that of `init`, or the recipes' own default.
        phantoms: learn from made-up volumes too; None: where the class is what these hold.
        target_slices: [first, one past the last] slice of the target that is read; None: all, or of a large
            one blocks spread over it.
        most_foreground: of the target, a share from 0 to 1, or "1.5x": times the source's; None: no bound.
    """

    source: str
    target: str
    source_voxel_nm: Spacing | None = None
    target_voxel_nm: Spacing | None = None
    student: Size | None = None
    budget: BudgetName = "standard"
    init: Path | None = None
    seed: int = 0
    overrides: tuple[str, ...] = ()
    class_name: str | None = None
    phantoms: bool | None = None
    target_slices: tuple[int, int] | None = None
    most_foreground: float | str | None = MOST_FOREGROUND
