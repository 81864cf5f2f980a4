"""The quality report: lines for people, and NAME.quality.json beside the package."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmn_export.adapt.quality import CAVEAT, Finding, Signs
from dmn_runtime.package import Package
from dmn_train.files import write_json

FORMAT = "dmn-quality"
FORMAT_VERSION = 2

IN_ALL = {
    "good": "nothing that can be measured without labels speaks against it",
    "look closer": "look at the preview of dmn infer, all over the volume, before it is used",
    "alarming": "look at the preview of dmn infer before anything else is done with it; what is wrong may be "
    "too few steps (--budget), a voxel size, the bound (--most-foreground) or a target too unlike the source",
}
"""What to do, by the worst verdict."""


@dataclass(frozen=True)
class Alarm:
    """What went wrong in a training.

    Attributes:
        stage: its name.
        sentence: for people.
        training: what the training itself said, in its own words.
    """

    stage: str
    sentence: str
    training: str


def quality_path(package: Path) -> Path:
    """Return where the report of a package stands."""
    return package.with_suffix(".quality.json")


def quality_lines(found: Sequence[Finding], alarms: Sequence[Alarm]) -> list[str]:
    """Return the report for people, a line a sign, the alarms, what to do, and what none of it is."""
    verdicts = {one.verdict for one in found} | ({"alarming"} if alarms else set())
    worst = next(verdict for verdict in reversed(IN_ALL) if verdict in verdicts)
    wide = max(len(one.name) for one in found), max(len(one.verdict) for one in found)
    return [
        "quality, estimated without a label of the target:",
        *(f"  {one.name.ljust(wide[0])}  {one.verdict.ljust(wide[1])}  {one.sentence}" for one in found),
        *(f"  alarm of stage {alarm.stage}: {alarm.sentence}" for alarm in alarms),
        f"  in all, {worst}: {IN_ALL[worst]}",
        f"  {CAVEAT}",
    ]


def write_quality(package: Package, signs: Signs, found: Sequence[Finding], alarms: Sequence[Alarm]) -> Path:
    """Write NAME.quality.json beside the package, whole or not at all; return its path.

    Raises:
        OutputError: it cannot be written.
    """
    path = quality_path(package.path)
    report: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package": package.path.name,
        "package_sha256": package.sha256,
        "signs": asdict(signs),
        "findings": [asdict(one) for one in found],
        "alarms": [asdict(alarm) for alarm in alarms],
        "caveat": CAVEAT,
    }
    write_json(path, report)
    return path
