"""Which files the labelled source is: IMAGE::MASK, or a folder whose names say which is which."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmn_runtime.errors import UsageError
from dmn_runtime.volume.open import FILE_FORMATS, INNER, split_inner

LABEL_WORDS = ("label", "labels", "annotation", "annotations", "seg", "segmentation")
MASK_WORDS = frozenset(["mask", "masks", "gt", "groundtruth", "truth", *LABEL_WORDS])
VALID_WORDS = frozenset(["valid"])
IMAGE_WORDS = frozenset(["image", "images", "img", "raw", "em", "grey", "gray", "volume", "stack"])
CLASS_WORDS = frozenset(["mito", "mitos", "mitochondria", "mitochondrion"])
SUFFIXES = frozenset(suffix for known in FILE_FORMATS for suffix in known.suffixes)
MOST_TOLD = 6


@dataclass(frozen=True)
class SourceFiles:
    """Full paths, with any `::dataset`.

    Attributes:
        image: the volume.
        mask: its labels.
        valid: 0 where the labels do not hold; None: they hold everywhere.
    """

    image: str
    mask: str
    valid: str | None = None


def find_source(text: str) -> SourceFiles:
    """Return what `--source` means.

    Args:
        text: a folder, or IMAGE::MASK; both of these may have a `::dataset` of their own.

    Raises:
        UsageError: there is no such folder, or it is not clear what in it is image and what is mask.
    """
    folder = Path(text)
    if folder.is_dir():
        return _in_folder(folder)
    pairs = list(_pairs(text))
    if len(pairs) == 1:
        return SourceFiles(*(whole_path(part) for part in pairs[0]))
    if not pairs and INNER not in text and folder.exists():
        raise UsageError(
            f"--source {text} is one file, wanted an image and its mask: --source {text}{INNER}MASK"
        )
    found = "can be read in more than one way" if pairs else "names no folder and no two volumes that exist"
    raise UsageError(f"--source {text} {found}: name a folder, or IMAGE{INNER}MASK")


def whole_path(text: str) -> str:
    """Return the full path of a volume, with its `::dataset` if it has one."""
    file, inner = split_inner(text)
    return str(file.resolve()) + ("" if inner is None else f"{INNER}{inner}")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield every way to read a text as two volumes that exist."""
    parts = text.split(INNER)
    for cut in range(1, len(parts)):
        pair = INNER.join(parts[:cut]), INNER.join(parts[cut:])
        if all(part and split_inner(part)[0].exists() for part in pair):
            yield pair


def _in_folder(folder: Path) -> SourceFiles:
    entries = sorted(path for path in folder.iterdir() if _may_be_volume(path))
    roles: dict[str, list[Path]] = {"image": [], "mask": [], "valid": [], "": []}
    for path in entries:
        roles[_role(path)].append(path)
    images = roles["image"] or roles[""]
    if len(images) != 1 or len(roles["mask"]) != 1 or len(roles["valid"]) > 1:
        told = ", ".join(path.name for path in entries[:MOST_TOLD]) or "no volume at all"
        more = ", ..." if len(entries) > MOST_TOLD else ""
        raise UsageError(
            f"--source {folder} holds {told}{more}, and it is not clear which is the image and which its "
            f"mask (wanted one image.* and one mask.* or labels.*): name them, --source IMAGE{INNER}MASK"
        )
    valid = str(roles["valid"][0].resolve()) if roles["valid"] else None
    return SourceFiles(str(images[0].resolve()), str(roles["mask"][0].resolve()), valid)


def _may_be_volume(path: Path) -> bool:
    return not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in SUFFIXES)


def _role(path: Path) -> str:
    """Return what a name says: mask, valid, image, or nothing; "mito" is a mask unless it says image too."""
    words = set(re.split(r"[^a-z]+", path.stem.lower()))
    for role, known in (
        ("mask", MASK_WORDS),
        ("valid", VALID_WORDS),
        ("image", IMAGE_WORDS),
        ("mask", CLASS_WORDS),
    ):
        if words & known:
            return role
    return ""
