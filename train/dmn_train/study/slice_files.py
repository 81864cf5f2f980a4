"""The files of single slices: numbers go to the report, pictures stay with the runs."""

from collections.abc import Mapping
from pathlib import Path

from dmn_train.files import translate_write_errors, write_text
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.report_sections import QualitativeSection
from dmn_train.study.slice_page import numbers_page, picture_page
from dmn_train.study.slice_pictures import draw_slice
from dmn_train.study.slices import ProtocolSlices, ShownSlice
from dmn_train.study.test_volume import TestVolume


def page_name(study: str) -> str:
    """Return the name of the page of slices."""
    return f"{study}-slices.md"


def write_slices(
    placed: PlacedStudy,
    section: QualitativeSection,
    protocols: tuple[ProtocolSlices, ...],
    tests: Mapping[str, TestVolume],
    places: Places,
    *,
    output: Path,
    to: Path,
) -> list[Path]:
    """Write NAME-slices.md of numbers, and OUTPUT/NAME-slices with pictures and a page that shows them.

    Args:
        placed: the study.
        section: its key `qualitative`.
        protocols: the slices.
        tests: the test volume of every protocol.
        places: how files are called.
        output: folder of the runs.
        to: folder of the report.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
    """
    name = page_name(placed.study.name)
    folder = output / name.removesuffix(".md")
    with translate_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = [to / name, folder / name]
    write_text(files[0], numbers_page(placed, section, protocols, places))
    write_text(files[1], picture_page(placed, section, protocols, _picture_name))
    for one in protocols:
        for shown in one.slices:
            files.append(folder / _picture_name(one.protocol.name, shown))
            draw_slice(shown, tests[one.protocol.name], files[-1])
    return files


def _picture_name(protocol: str, shown: ShownSlice) -> str:
    return f"{protocol}-{shown.kind}.png"
