"""A look at the two volumes before anything is trained: are they there, do they fit, how large is a voxel."""

from dataclasses import dataclass, field

import numpy as np

from dmn_export.adapt.init_run import check_init
from dmn_export.adapt.source_files import SourceFiles, find_source, whole_path
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError, VolumeError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.mask_file import open_mask
from dmn_runtime.normalise import histogram
from dmn_runtime.volume.open import open_volume
from dmn_train.file_times import fingerprint_holds_times

LEAST_NM = 0.1


@dataclass(frozen=True)
class Volumes:
    """The two volumes.

    Attributes:
        source: full paths of the labelled one.
        source_shape: voxels, zyx.
        source_nm: voxel size, zyx.
        target: full path of the unlabelled one.
        target_shape: voxels, zyx.
        target_nm: voxel size, zyx.
        source_bytes: of one voxel of the source's image.
        target_bytes: of one voxel.
        fingerprints: of the contents, by role: source, mask, valid, target.
    """

    source: SourceFiles
    source_shape: Triple
    source_nm: Spacing
    target: str
    target_shape: Triple
    target_nm: Spacing
    source_bytes: int = 1
    target_bytes: int = 1
    fingerprints: dict[str, str] = field(default_factory=dict)


def look_at(wishes: AdaptWishes) -> Volumes:
    """Open what the user named and close it again.

    Raises:
        UsageError: it is not clear what is meant, the target is the source, or a voxel size is nowhere or in
            another unit; `--target-slices` leaves the target; `--init` knows labels of the target.
        RunError: `--init` is no finished run.
        VolumeError: a file cannot be read, or image and mask differ in shape.
    """
    source, target = find_source(wishes.source), whole_path(wishes.target)
    if target in (source.image, source.mask, source.valid):
        raise _is_source(wishes.target)
    image, stack = _facts(source.image, wishes.source_voxel_nm), _facts(target, wishes.target_voxel_nm)
    source_nm, target_nm = _sizes((image, "--source-voxel-nm"), (stack, "--target-voxel-nm"))
    found = {"source": image.fingerprint, **_labels(source, image.shape)}
    if stack.fingerprint in found.values() or _alike(source.image, target):
        raise _is_source(wishes.target)
    found["target"] = stack.fingerprint
    chosen = wishes.target_slices
    if chosen is not None and chosen[1] > stack.shape[0]:
        raise UsageError(
            f"--target-slices {chosen[0]},{chosen[1]} leaves the target, which has {stack.shape[0]} slices"
        )
    if wishes.init is not None:
        check_init(wishes.init, target, stack.fingerprint)
    return Volumes(
        source,
        image.shape,
        source_nm,
        target,
        stack.shape,
        target_nm,
        image.voxel_bytes,
        stack.voxel_bytes,
        found,
    )


@dataclass(frozen=True)
class _Facts:
    path: str
    shape: Triple
    voxel_nm: Spacing | None
    voxel_bytes: int
    fingerprint: str


def _alike(image: str, target: str) -> bool:
    """Tell whether a large target is a copy of the image: its fingerprint, with file times, does not."""
    if not fingerprint_holds_times(target):
        return False
    with open_volume(image) as one, open_volume(target) as other:
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        return bool(np.array_equal(histogram(one), histogram(other)))


def _is_source(target: str) -> UsageError:
    return UsageError(
        f"--target {target} is part of the labelled source, or a copy of it: name the unlabelled volume to "
        "adapt to"
    )


def _labels(source: SourceFiles, shape: Triple) -> dict[str, str]:
    """Return the fingerprints of the source's labels by role; refuse those of another shape."""
    found = {}
    for path, role in ((source.mask, "mask"), (source.valid, "valid mask")):
        if path is not None:
            with open_mask(path, role) as labels:  # type: ignore[arg-type]
                if labels.shape != shape:
                    raise VolumeError(
                        f"the {role} {path} has {labels.shape} voxels (zyx) and the image {source.image} has "
                        f"{shape}: name the labels of this image"
                    )
                found[role] = labels.fingerprint()
    return found


def _facts(path: str, voxel_nm: Spacing | None) -> _Facts:
    with open_volume(path, voxel_nm=voxel_nm) as volume:
        return _Facts(path, volume.shape, volume.voxel_nm, volume.dtype.itemsize, volume.fingerprint())


def _sizes(*named: tuple[_Facts, str]) -> list[Spacing]:
    """Return voxel sizes; refuse those that nobody says, all in one sentence, and those in another unit."""
    unknown = [(facts.path, option) for facts, option in named if facts.voxel_nm is None]
    if unknown:
        paths, options = (" and ".join(words) for words in zip(*unknown, strict=True))
        does = "does not say its" if len(unknown) == 1 else "do not say their"
        raise UsageError(f"{paths} {does} voxel size: add {options} Z,Y,X, in nm")
    return [_in_nm(facts.path, facts.voxel_nm, option) for facts, option in named if facts.voxel_nm]


def _in_nm(path: str, voxel_nm: Spacing, option: str) -> Spacing:
    if min(voxel_nm) < LEAST_NM:
        told = ",".join(f"{edge:g}" for edge in voxel_nm)
        raise UsageError(
            f"{path} has voxels of {told} nm, less than an atom: give {option} Z,Y,X in nm (0.01 um are "
            "10 nm)"
        )
    return voxel_nm
