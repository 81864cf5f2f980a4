"""The documents keep up with the code where a machine can tell."""

import re
from pathlib import Path

from dmn_runtime import __version__
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.cli import COMMANDS
from dmn_runtime.contract import Certificate, Contract, PackagedPlan
from dmn_runtime.report import Report

ROOT = Path(__file__).parents[2]


def test_the_changelog_names_the_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`dmn {name}" not in readme] == []


def test_no_link_between_documents_is_dead() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_contributing_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50


def test_the_pages_of_law_name_every_field() -> None:
    package, report = ((ROOT / "docs" / name).read_text() for name in ("package.md", "report.md"))
    for page, holder in (
        (package, Contract),
        (package, Certificate),
        (package, PackagedPlan),
        (report, Report),
    ):
        missing = [name for name in holder.__dataclass_fields__ if f"`{name}`" not in page]
        assert missing == [], holder.__name__


def test_the_page_on_packages_has_the_tolerances_that_hold() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]*) ?\|$",
        (ROOT / "docs" / "package.md").read_text(),
        re.MULTILINE,
    )
    assert {
        name: Tolerance(float(max_dp), float(iou), float(speedup or 0)) for name, max_dp, iou, speedup in rows
    } == TOLERANCES
