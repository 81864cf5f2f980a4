"""How far a student and its teacher say the same of the target; no label is read."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmn_train.material import unaugmented
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.pseudo_labels import DECISION
from dmn_train.recipe import PlacedRecipe
from dmn_train.stacks import TargetStack
from dmn_train.student.fixed_teacher import FixedTeacher
from dmn_train.student.soft_labels import iou_of_masks
from dmn_train.student.target_tiles import TargetTiles, draw_tiles

TILES = 12
TILES_SEED = 20_011


@dataclass(frozen=True)
class Agreement:
    """What two networks say of tiles of the target.

    Attributes:
        iou: of their masks, over all tiles; 1 where neither finds anything.
        student: probabilities of foreground, n1hw float32, cores of the tiles.
        teacher: likewise, the mean over the teacher's views.
    """

    iou: float
    student: Tensor
    teacher: Tensor


def target_tiles(placed: PlacedRecipe) -> TargetTiles:
    """Return 12 tiles of the target that a recipe names, the same on every call.

    Raises:
        VolumeError, RecipeError: a volume cannot be read.
    """
    stacks = [stack for stack, _ in unaugmented(placed, 1) if isinstance(stack, TargetStack)]
    return tiles_of(stacks, placed.recipe.network.spec)


def tiles_of(stacks: list[TargetStack], spec: NetworkSpec) -> TargetTiles:
    """Return 12 tiles of stacks on the working grid, the same on every call."""
    return draw_tiles(stacks, spec, TILES, np.random.default_rng(TILES_SEED))


@torch.no_grad()
def agreement(
    teacher: UNet,
    student: UNet,
    tiles: TargetTiles,
    views: int = 8,
    *,
    thresholds: tuple[float, float] = (DECISION, DECISION),
) -> Agreement:
    """Compare a student with what its teacher says as the mean over `views`.

    Args:
        teacher: on the CPU.
        student: on the CPU; the teacher itself asks how much it depends on the way up an image is.
        tiles: of the target.
        views: flips and quarter turns, at most 8.
        thresholds: probabilities from which teacher and student call a pixel foreground.
    """
    judge, told, found = FixedTeacher(teacher, views), [], []
    student.eval()
    for index in range(len(tiles.images)):
        image = tiles.images[index : index + 1]
        told.append(tiles.core(judge(image).probability))
        found.append(tiles.core(student(image).float().sigmoid()))
    teacher_says, student_says = torch.cat(told), torch.cat(found)
    of_teacher, of_student = thresholds
    iou = iou_of_masks(student_says >= of_student, teacher_says >= of_teacher)
    return Agreement(float(iou), student_says, teacher_says)
