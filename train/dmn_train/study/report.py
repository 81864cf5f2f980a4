"""The report's files: NAME.csv."""

from pathlib import Path

from dmn_train.files import translate_write_errors, write_text
from dmn_train.study.collect import Collection
from dmn_train.study.job import Job
from dmn_train.study.scoring import TestVolume
from dmn_train.study.sections import PlacedStudy
from dmn_train.study.table import row_of, to_csv


def write_report(
    placed: PlacedStudy,
    plan: tuple[Job, ...],
    collection: Collection,
    tests: dict[str, TestVolume],
    output: Path,
    to: Path,
) -> list[Path]:
    """Write the report and return its files."""
    with translate_write_errors(to):
        to.mkdir(parents=True, exist_ok=True)
    csv = to / f"{placed.study.name}.csv"
    write_text(csv, to_csv([row_of(result) for result in collection.results]))
    return [csv]
