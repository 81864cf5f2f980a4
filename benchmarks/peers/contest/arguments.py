"""What the command line names: volumes and students, checked before anything is made or measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
VOLUME_FORM = "NAME=PATH,ZxYxX[,LABELS][,slices=N][,mosaic=N]"
STUDENT_FORM = "NAME=RUN_FOLDER,PACKAGE"


@dataclass(frozen=True)
class VolumeWish:
    """A volume of the contest.

    Attributes:
        name: one word, for tables.
        path: an image volume of 8-bit voxels.
        voxel_nm: zyx.
        labels: a mask on the same grid, or None.
        slices: mirror the volume along z until it has that many; 0 leaves it as it is.
        mosaic: mirror every slice that many times along y and along x.
    """

    name: str
    path: Path
    voxel_nm: Spacing
    labels: Path | None
    slices: int = 0
    mosaic: int = 1


@dataclass(frozen=True)
class StudentWish:
    """A student of the contest: the run that PyTorch loads, and the package that was exported from it."""

    name: str
    run: Path
    package: Path


def parse_volume(words: str) -> VolumeWish:
    """Read one --volume.

    Raises:
        UsageError: it has another form, or a file is missing.
    """
    name, rest = _named("--volume", words, VOLUME_FORM)
    paths, numbers = [], {"slices": 0, "mosaic": 1}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if equals and key in numbers:
            numbers[key] = _count(f"{key} of --volume {name}", value)
        else:
            paths.append(part)
    if len(paths) not in (2, 3):
        raise UsageError(f"--volume {words} has {len(paths)} parts without a key, wanted {VOLUME_FORM}")
    labels = _existing(f"the labels of --volume {name}", paths[2]) if len(paths) == 3 else None
    image = _existing(f"the image of --volume {name}", paths[0])
    return VolumeWish(name, image, _voxel(name, paths[1]), labels, **numbers)


def parse_student(words: str) -> StudentWish:
    """Read one --student.

    Raises:
        UsageError: it has another form, or a file is missing.
    """
    name, rest = _named("--student", words, STUDENT_FORM)
    parts = rest.split(",")
    if len(parts) != 2:
        raise UsageError(f"--student {words} has {len(parts)} parts, wanted {STUDENT_FORM}")
    run = _existing(f"the run folder of --student {name}", parts[0])
    return StudentWish(name, run, _existing(f"the package of --student {name}", parts[1]))


def parse_python(words: str, known: Sequence[str]) -> tuple[str, Path]:
    """Read one --python NAME=PATH: an interpreter to use instead of an environment of our making.

    Raises:
        UsageError: no environment has that name, or there is no such file.
    """
    name, equals, path = words.partition("=")
    if not equals or name not in known:
        raise UsageError(
            f"--python {words} names no environment, wanted NAME=PATH, one of {', '.join(known)}"
        )
    return name, _existing(f"the interpreter of --python {name}", path, follow=False)


_Wish = TypeVar("_Wish", VolumeWish, StudentWish)


def once_each(option: str, wishes: Sequence[_Wish]) -> tuple[_Wish, ...]:
    """Return the wishes, of which there must be one, and no two of one name.

    Raises:
        UsageError: there is none, or a name comes twice.
    """
    names = [wish.name for wish in wishes]
    if not names:
        raise UsageError(f"no {option} is given: give at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{option} {twice[0]} is given twice: give each its own name")
    return tuple(wishes)


def _named(option: str, words: str, form: str) -> tuple[str, str]:
    name, equals, rest = words.partition("=")
    if not equals or not _NAME.match(name):
        raise UsageError(f"{option} {words} begins with no name of letters, digits, - and _, wanted {form}")
    return name, rest


def _existing(what: str, path: str, *, follow: bool = True) -> Path:
    # The link of a virtual environment's interpreter must be kept: where it points to is another Python.
    found = Path(path).resolve() if follow else Path(path).absolute()
    if not path or not found.exists():
        raise UsageError(f"{what}, {path!r}, does not exist: give a path that does")
    return found


def _voxel(name: str, words: str) -> Spacing:
    try:
        z_nm, y_nm, x_nm = (float(edge) for edge in words.split("x"))
    except ValueError:
        raise UsageError(
            f"the voxel size of --volume {name} is {words!r}, wanted three numbers in nm, as 50x4.6x4.6"
        ) from None
    if not all(0 < edge < float("inf") for edge in (z_nm, y_nm, x_nm)):
        raise UsageError(f"the voxel size of --volume {name} is {words}, wanted positive numbers in nm")
    return (z_nm, y_nm, x_nm)


def _count(what: str, words: str) -> int:
    if not words.isascii() or not words.isdigit() or int(words) < 1:
        raise UsageError(f"{what} is {words!r}, wanted a whole number from 1")
    return int(words)
