"""Labels: what the values of a mask mean, and a mask on the working grid."""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Spacing
from dmn_runtime.resample import resample_slices
from dmn_train.grey import Grey
from dmn_train.sections import Label

BACKGROUND, FOREGROUND, UNLABELLED = 0, 1, 255


def checked_mask(labels: Grey, image: Grey, label: Label | None) -> NDArray[np.uint8]:
    """Return a mask of 0, 1 and 255, uint8 zyx, from the labels of an image.

    Args:
        labels: read from file.
        image: what they are of.
        label: values that are foreground, or "any" but 0; None: the file holds 0, 1 and 255 alone.

    Raises:
        VolumeError: the shapes differ, or there are other values.
    """
    check_shape(labels, image)
    if label == "any":
        return np.where(labels.voxels == 0, BACKGROUND, FOREGROUND).astype(np.uint8)
    if label is not None:
        return _of_interest(labels, label)
    found = {int(value) for value in np.unique(labels.voxels)}
    if not found <= {BACKGROUND, FOREGROUND, UNLABELLED}:
        raise VolumeError(
            f"{labels.name} holds the values {', '.join(map(str, sorted(found)[:6]))}, wanted 0 = background "
            "with 1 = foreground and 255 = unlabelled, or 0 with 255 = foreground alone: convert it, or name "
            'the values of interest with data.source.label, "any" for all but 0'
        )
    if found <= {BACKGROUND, UNLABELLED}:  # as `dmn_runtime.evaluation.read_mask` understands such a mask
        return np.where(labels.voxels == UNLABELLED, FOREGROUND, BACKGROUND).astype(np.uint8)
    return labels.voxels.astype(np.uint8)


def _of_interest(labels: Grey, label: tuple[int, ...]) -> NDArray[np.uint8]:
    """Make a mask of several classes one of foreground and background; 255 stays unlabelled if not named."""
    mask = np.isin(labels.voxels, label).astype(np.uint8)
    if UNLABELLED not in label:
        mask[labels.voxels == UNLABELLED] = UNLABELLED
    return mask


def check_shape(labels: Grey, image: Grey) -> None:
    """Raise VolumeError unless both have the same shape."""
    if labels.shape != image.shape:
        raise VolumeError(
            f"{labels.name} has {labels.shape} voxels (zyx) and {image.name} has {image.shape}: "
            "name the labels of this image"
        )


def resampled_mask(mask: NDArray[np.uint8], voxel_nm: Spacing, working_nm: float | None) -> NDArray[np.uint8]:
    """Resample by majority: foreground where half of a pixel is; unlabelled where any of it is."""
    share = resample_slices((mask == FOREGROUND).astype(np.uint8) * 255, voxel_nm, working_nm)
    unknown = resample_slices((mask == UNLABELLED).astype(np.uint8) * 255, voxel_nm, working_nm)
    return np.where(unknown > 0, UNLABELLED, share >= 128).astype(np.uint8)
