"""A PC that wheels are for: a platform and a Python, as pip's tags and as environment markers name them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags

from dmn_runtime.errors import UsageError

OLDEST_PYTHON = (3, 11)

# pip takes each --platform word literally, so the older tags that a newer system also runs are listed.
PLATFORM_TAGS = {
    "linux": (
        "manylinux_2_28_x86_64",
        "manylinux_2_27_x86_64",
        "manylinux_2_26_x86_64",
        "manylinux_2_24_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        "manylinux_2_12_x86_64",
        "manylinux2010_x86_64",
        "manylinux_2_5_x86_64",
        "manylinux1_x86_64",
    ),
    "windows": ("win_amd64",),
}
"""Platform word -> wheel tags, newest first. Linux means glibc 2.28 (2018) or newer."""

_MARKERS = {
    "linux": {
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    },
    "windows": {
        "os_name": "nt",
        "sys_platform": "win32",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
    },
}
_PYTHON = re.compile(r"3\.[1-9][0-9]?")


@dataclass(frozen=True)
class Target:
    """`platform`: a key of `PLATFORM_TAGS`; `python`: as "3.11"."""

    platform: str
    python: str

    @property
    def wheels(self) -> str:
        """Folder of its wheels, relative to the air-gapped folder."""
        return f"wheels/{self.platform}"

    @property
    def python_numbers(self) -> tuple[int, int]:
        """Python's version as numbers."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    def tags(self) -> frozenset[Tag]:
        """Return every wheel tag that this PC can install."""
        return frozenset(self._tags())

    def _tags(self) -> Iterator[Tag]:
        platforms = PLATFORM_TAGS[self.platform]
        yield from cpython_tags(self.python_numbers, platforms=platforms)
        yield from compatible_tags(
            self.python_numbers, f"cp{self.python.replace('.', '')}", platforms=platforms
        )

    def environments(self) -> tuple[dict[str, str], ...]:
        """Return the marker environments of a first and of a late patch release: both are in use."""
        return tuple(self._environment(f"{self.python}.{patch}") for patch in (0, 99))

    def _environment(self, full_version: str) -> dict[str, str]:
        return {
            **_MARKERS[self.platform],
            "implementation_name": "cpython",
            "implementation_version": full_version,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
            "python_full_version": full_version,
            "python_version": self.python,
        }


def check_target(platform: str, python: str) -> Target:
    """Return the target that two words of the user name.

    Raises:
        UsageError: no such platform, or a Python that DMN does not run on.
    """
    if platform not in PLATFORM_TAGS:
        raise UsageError(f"{platform!r} is no platform of DMN: ask for {' or '.join(PLATFORM_TAGS)}")
    target = Target(platform, python)
    if not _PYTHON.fullmatch(python) or target.python_numbers < OLDEST_PYTHON:
        raise UsageError(
            f"{python!r} is no Python that DMN runs on: write it as 3.11, that version or a newer one"
        )
    return target
