"""A look at the two volumes before anything is trained: are they there, do they fit, how large is a voxel."""

from dataclasses import dataclass

from dmn_export.adapt.source_files import SourceFiles, find_source, whole_path
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.mask_file import open_mask
from dmn_runtime.volume.open import open_volume


@dataclass(frozen=True)
class Volumes:
    """The two volumes.

    Attributes:
        source: full paths of the labelled one.
        source_shape: voxels, zyx.
        source_nm: voxel size, zyx.
        target: full path of the unlabelled one.
        target_nm: voxel size, zyx.
    """

    source: SourceFiles
    source_shape: Triple
    source_nm: Spacing
    target: str
    target_nm: Spacing


def look_at(wishes: AdaptWishes) -> Volumes:
    """Open what the user named and close it again.

    Raises:
        UsageError: it is not clear what is meant, the target is the source, or a voxel size is nowhere.
        VolumeError: a file cannot be read, or image and mask differ in shape.
    """
    source = find_source(wishes.source)
    shape, source_nm = _facts(source.image, wishes.source_voxel_nm, "--source-voxel-nm")
    for path, role in ((source.mask, "mask"), (source.valid, "valid mask")):
        if path is not None:
            with open_mask(path, role) as labels:  # type: ignore[arg-type]
                if labels.shape != shape:
                    raise VolumeError(
                        f"the {role} {path} has {labels.shape} voxels (zyx) and the image {source.image} has "
                        f"{shape}: name the labels of this image"
                    )
    target = whole_path(wishes.target)
    if target in (source.image, source.mask, source.valid):
        raise UsageError(
            f"--target {wishes.target} is part of the labelled source: name the unlabelled volume to adapt to"
        )
    _, target_nm = _facts(target, wishes.target_voxel_nm, "--target-voxel-nm")
    return Volumes(source, shape, source_nm, target, target_nm)


def _facts(path: str, voxel_nm: Spacing | None, option: str) -> tuple[Triple, Spacing]:
    with open_volume(path, voxel_nm=voxel_nm) as volume:
        if volume.voxel_nm is None:
            raise UsageError(f"{path} does not say its voxel size: add {option} Z,Y,X, in nm")
        return volume.shape, volume.voxel_nm
