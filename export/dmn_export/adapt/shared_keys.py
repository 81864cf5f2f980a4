"""What the recipes of all stages share: input, labelled source, held-out slices. Pure."""

from pathlib import Path
from typing import Any

from dmn_export.adapt.defaults import LEAST_WORKING_NM
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError
from dmn_train.run import Run
from dmn_train.student.plan import without_nones

LEAST_SLICES = 10  # fewer are all trained on
HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 8


def shared_keys(wishes: AdaptWishes, volumes: Volumes, base: Run | None) -> dict[str, Any]:
    """Return these keys and their values.

    Args:
        wishes: of the user.
        volumes: looked at.
        base: the run of `wishes.init`, whose input is kept.

    Raises:
        UsageError: that run is of another class.
    """
    files = volumes.source
    voxel_nm = list(volumes.source_nm)
    source = {"image": files.image, "mask": files.mask, "valid": files.valid, "voxel_nm": voxel_nm}
    common: dict[str, Any] = {"data": {"source": source}, "class_name": wishes.class_name}
    if base is None:
        common["working_voxel_nm"] = working_nm(volumes)
        common["validate"] = _held_out(volumes.source_shape[0])
    else:
        if wishes.class_name not in (None, base.class_name):
            raise UsageError(
                f"--class {wishes.class_name} is not what --init {wishes.init} finds, {base.class_name}: "
                "leave out --class, or --init"
            )
        recipe = without_nones(base.placed.recipe.as_json())
        kept = ("working_voxel_nm", "normalisation", "class_name")
        common |= {key: recipe[key] for key in kept if key in recipe}
        common["validate"] = _held_out_before(volumes, base)
    given: dict[str, Any] = without_nones(common)
    return given


def working_nm(volumes: Volumes) -> float:
    """Return the pixel size that the network works at: 10 nm, or that of a volume that is coarser."""
    return max(LEAST_WORKING_NM, *volumes.source_nm[1:], *volumes.target_nm[1:])


def _held_out(count: int) -> dict[str, Any] | None:
    """Hold out the last tenth of the source's slices, 8 at most; none of a handful."""
    if count < LEAST_SLICES:
        return None
    return {"slices": [count - min(MOST_HELD_OUT, int(HELD_OUT_SHARE * count)), count]}


def _held_out_before(volumes: Volumes, base: Run) -> dict[str, Any] | None:
    """Hold out what the run that is started from held out of the same source; else nothing."""
    before = base.placed.recipe
    image, validate = before.data.source.image, before.validate_
    if image is None or validate is None or validate.slices is None:
        return None
    same = Path(base.placed.locate(image)).resolve() == Path(volumes.source.image)
    return {"slices": list(validate.slices)} if same else None
