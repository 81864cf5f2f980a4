"""Whether what an adaptation holds in memory at once fits into this machine."""

from dmn_export.adapt.plan import Plan
from dmn_export.adapt.volumes import Volumes
from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.machine import memory_bytes
from dmn_train.recipe import Recipe
from dmn_train.sections import SliceRange

PROGRAM_BYTES = 1_500_000_000
"""Libraries, batches, a network's training."""
LABEL_BYTES = 6
"""A voxel of labels: mask, its two shares on the way to the working grid, places of the foreground."""
ACTIVATION_BYTES = 40
"""A pixel of a slice in a U-Net of base 1, in float32; measured at bases 8 to 32."""


def check_memory(plan: Plan, volumes: Volumes, present: int | None = None) -> None:
    """Refuse what cannot fit.

    Args:
        plan: its last stage names all that any of its stages reads.
        volumes: looked at.
        present: bytes of this machine; None: as it says. One that does not say takes everything.

    Raises:
        UsageError: it cannot fit; names both sizes, and what takes most.
    """
    recipe = plan.stages[-1].placed.recipe
    source, target = _source_bytes(volumes), _target_bytes(volumes, recipe)
    slices = ACTIVATION_BYTES * _base(plan) * _slice_px(volumes, recipe)
    needed = PROGRAM_BYTES + source + target + slices
    memory = memory_bytes() if present is None else present
    if memory is None or needed <= memory:
        return
    largest = max(source, target, slices)
    advice = "name fewer with --target-slices FIRST,STOP"
    if largest == source:
        advice = "cut a smaller piece out of the labelled source"
    elif largest == slices:
        advice = "cut narrower slices out of the labelled source, or take a smaller --student"
    raise UsageError(
        f"this takes about {_gb(needed)} of memory ({_gb(source)} for the source, {_gb(target)} for what is "
        f"read of the target, {_gb(slices)} for a slice in the network) and this machine has {_gb(memory)}: "
        f"{advice}"
    )


def _source_bytes(volumes: Volumes) -> int:
    """Bytes of image and labels as they are read, and of both on the working grid."""
    depth, height, width = volumes.source_shape
    return depth * height * width * (2 * volumes.source_bytes + LABEL_BYTES)


def _target_bytes(volumes: Volumes, recipe: Recipe) -> int:
    """Bytes of what is read, raw and on the working grid."""
    depth, height, width = volumes.target_shape
    voxels = sum(
        _length(target.slices, depth) * height * _length(target.columns, width)
        for target in recipe.data.target
    )
    return 2 * voxels * volumes.target_bytes


def _slice_px(volumes: Volumes, recipe: Recipe) -> int:
    """Pixels of the largest slice that goes through the network at once, on the working grid."""
    source = _px(volumes.source_shape, volumes.source_nm, recipe.data.source.columns, recipe.working_voxel_nm)
    of_target = [
        _px(volumes.target_shape, volumes.target_nm, target.columns, recipe.working_voxel_nm)
        for target in recipe.data.target
    ]
    return max(source, *of_target)


def _px(shape: Triple, voxel_nm: Spacing, columns: SliceRange | None, working_nm: float | None) -> int:
    _, height, width = shape
    tall, wide = voxel_nm[1], voxel_nm[2]
    scale = 1.0 if working_nm is None else tall * wide / working_nm**2
    return int(height * _length(columns, width) * scale)


def _length(span: SliceRange | None, extent: int) -> int:
    return extent if span is None else span[1] - span[0]


def _base(plan: Plan) -> int:
    return max(stage.placed.recipe.network.spec.base for stage in plan.stages)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
