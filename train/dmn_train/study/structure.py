"""Objects and boundaries of a prediction: PQ, Betti-0 error and surface Dice (docs/study.md)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.objects import FLOOR_VOXELS, MATCH_IOU, Matches, ObjectScores, match, score
from dmn_train.study.components import LEAST_AREA_NM2, betti0_error, count_components
from dmn_train.study.contours import TOLERANCE_NM, compare_contours, surface_dice

Mask = NDArray[np.bool_]

RULES = {
    "floor_voxels": FLOOR_VOXELS,
    "match_iou": MATCH_IOU,
    "least_area_nm2": LEAST_AREA_NM2,
    "tolerance_nm": TOLERANCE_NM,
}
"""What a structure depends on beside the masks; kept figures made by other rules do not count."""


@dataclass(frozen=True)
class Structure:
    """What the three scores are made of.

    Attributes:
        matches: 3-D objects, matched.
        components: int64 (slices, 2): found and true pieces of every slice with a counted voxel.
        contours: int64 (slices, 4) of `compare_contours`, of the same slices.
    """

    matches: Matches
    components: NDArray[np.int64]
    contours: NDArray[np.int64]

    @property
    def objects(self) -> ObjectScores:
        """PQ, SQ and RQ, without an interval."""
        return score(self.matches, resamples=0, seed=0)

    @property
    def objects_found(self) -> int:
        """How many 3-D objects the prediction has."""
        return len(self.matches.ious) + self.matches.false_positives

    @property
    def objects_true(self) -> int:
        """How many 3-D objects the truth has."""
        return len(self.matches.ious) + self.matches.false_negatives

    @property
    def betti0_error(self) -> float:
        """|pieces found - true pieces|, mean over slices."""
        return betti0_error(self.components)

    @property
    def nsd(self) -> float | None:
        """Surface Dice, mean over slices with a contour; None without one."""
        return surface_dice(self.contours)


def structure_of(
    prediction: Mask, truth: Mask, counted: Mask, voxel_nm: tuple[float, float, float]
) -> Structure:
    """Compare the objects, pieces and contours of two masks.

    Args:
        prediction: zyx.
        truth: zyx.
        counted: zyx; other voxels are background on both sides, and belong to no contour. At least one.
        voxel_nm: voxel size, zyx.

    Raises:
        MissingExtra: connected-components-3d is not installed.
    """
    found, true, pixel_nm = prediction & counted, truth & counted, voxel_nm[1:]
    slices = np.flatnonzero(counted.any(axis=(1, 2)))
    return Structure(
        match(found, true),
        np.array([[count_components(side[z], pixel_nm) for side in (found, true)] for z in slices], np.int64),
        np.stack([compare_contours(found[z], true[z], counted[z], pixel_nm) for z in slices]),
    )
