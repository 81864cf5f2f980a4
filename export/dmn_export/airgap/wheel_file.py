"""What a wheel says of itself: name, version, tags, requirements, extras, licence."""

from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from dmn_runtime.errors import OutputError


@dataclass(frozen=True)
class Wheel:
    """A wheel's own words.

    Attributes:
        name: canonical name, as "scikit-image".
        version: its version.
        tags: that its file name promises.
        python: versions of Python that it runs on.
        requirements: what it needs, with markers.
        extras: canonical names of its extras.
        proprietary: whether its licence is called proprietary or NVIDIA's.
    """

    name: str
    version: Version
    tags: frozenset[Tag]
    python: SpecifierSet
    requirements: tuple[Requirement, ...]
    extras: frozenset[str]
    proprietary: bool


def read_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata.

    Raises:
        OutputError: it is no whole wheel.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        metadata = _metadata(path)
        return Wheel(
            name=name,
            version=version,
            tags=tags,
            python=SpecifierSet(metadata.get("Requires-Python", "")),
            requirements=tuple(Requirement(text) for text in metadata.get_all("Requires-Dist", [])),
            extras=frozenset(canonicalize_name(text) for text in metadata.get_all("Provides-Extra", [])),
            proprietary=_is_proprietary(metadata),
        )
    except (OSError, BadZipFile, KeyError, InvalidWheelFilename, InvalidRequirement) as error:
        raise OutputError(f"{path.name} is no whole wheel ({error}): remove it and run again") from error


def read_wheels(folder: Path) -> tuple[Wheel, ...]:
    """Read every wheel of a folder, by name."""
    return tuple(read_wheel(path) for path in sorted(folder.glob("*.whl")))


def _metadata(path: Path) -> Message:
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        top = [name for name in names if name.count("/") == 1]
        if not top:
            raise KeyError("it has no METADATA")
        return BytesParser().parsebytes(archive.read(top[0]), headersonly=True)


def _is_proprietary(metadata: Message) -> bool:
    keys = ("License", "License-Expression", "Classifier")
    texts = [
        text for key in keys for text in metadata.get_all(key, []) if key != "Classifier" or "License" in text
    ]
    # Only the first words: a License field may hold a whole text that mentions anything.
    return any("proprietary" in text[:120].lower() or "nvidia" in text[:120].lower() for text in texts)
