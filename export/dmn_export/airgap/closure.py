"""Whether a set of wheels is enough for a PC, asked of that PC's markers and not of this one's.

`pip download --platform` chooses files for the other platform, but reads markers (`sys_platform == "win32"`,
`python_version < "3.12"`) with the Python that runs it: prepared on Linux, a folder for Windows would lack
what only Windows needs, and that would be noticed at the microscope.
"""

from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dmn_export.airgap.target import Target
from dmn_export.airgap.wheel_file import Wheel


def missing(target: Target, wheels: Iterable[Wheel], roots: Iterable[Requirement]) -> tuple[str, ...]:
    """Return the requirements, sorted, that no wheel of the set fulfils on the target.

    Args:
        target: the PC.
        wheels: what the folder holds for it.
        roots: what will be installed, with extras; without markers.
    """
    tags = target.tags()
    fitting = [wheel for wheel in wheels if _runs(wheel, target) and not tags.isdisjoint(wheel.tags)]
    seen: set[str] = set()
    lacking: set[str] = set()
    waiting = list(roots)
    while waiting:
        wanted = waiting.pop()
        plain = _without_marker(wanted)
        if plain in seen:
            continue
        seen.add(plain)
        having = [wheel for wheel in fitting if _fulfils(wheel, wanted)]
        if not having:
            lacking.add(plain)
        for wheel in having:
            waiting.extend(_needs(wheel, wanted.extras, target))
    return tuple(sorted(lacking))


def _runs(wheel: Wheel, target: Target) -> bool:
    return wheel.python.contains(f"{target.python}.99") or wheel.python.contains(f"{target.python}.0")


def _fulfils(wheel: Wheel, wanted: Requirement) -> bool:
    same = wheel.name == canonicalize_name(wanted.name)
    return same and wanted.specifier.contains(wheel.version, prereleases=True)


def _needs(wheel: Wheel, extras: set[str], target: Target) -> Iterator[Requirement]:
    for requirement in wheel.requirements:
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra})
            for environment in target.environments()
            for extra in ("", *extras)
        ):
            yield requirement


def _without_marker(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{canonicalize_name(requirement.name)}{extras}{requirement.specifier}"
