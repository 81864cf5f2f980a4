"""A doubt about a voxel size: the same numbers in the order x, y, z are another size, and nothing fails."""

from dmn_runtime.geometry import Spacing

MOST_UNLIKE = 1.5


def order_doubt(voxel_nm: Spacing) -> str | None:
    """Return a question where the pixels of a slice are far from square; None where they are not."""
    _, high_nm, wide_nm = voxel_nm
    if 1 / MOST_UNLIKE <= high_nm / wide_nm <= MOST_UNLIKE:
        return None
    return (
        f"the voxels are {high_nm:g} nm high and {wide_nm:g} nm wide in a slice: is the voxel size in the "
        "order z, y, x?"
    )
