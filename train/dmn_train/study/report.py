"""The report's files: text, CSV and figures; pictures of the test volumes stay with the runs."""

from pathlib import Path

from dmn_train.files import translate_write_errors, write_text
from dmn_train.study.collect import Collection, shown
from dmn_train.study.figures import draw_bars, draw_fractions, draw_overlays
from dmn_train.study.markdown import to_markdown
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.rows import row_of, to_csv
from dmn_train.study.sections import Study
from dmn_train.study.slice_files import page_name, write_slices
from dmn_train.study.slices import slices_of
from dmn_train.study.tables import Curve, ProtocolTable, by_name, curves, protocol_tables
from dmn_train.study.test_volume import TestVolume


def write_report(
    placed: PlacedStudy, collection: Collection, tests: dict[str, TestVolume], output: Path, to: Path
) -> list[Path]:
    """Write the report and return its files.

    Args:
        placed: the study.
        collection: what there is of it.
        tests: the test volume of every protocol.
        output: folder of the runs; gets the pictures of test volumes.
        to: folder of the report.

    Raises:
        DmnError: a run is damaged, or a file cannot be written.
    """
    study = placed.study
    for folder in (to, output):
        with translate_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    tables, fine = protocol_tables(study, collection), curves(study, collection)
    figures = _bars(study, tables, to) | _fractions(study, fine, to)
    places = Places(shown(placed.path), shown(output), shown(to))
    csv, markdown = to / f"{study.name}.csv", to / f"{study.name}.md"
    write_text(csv, to_csv([row_of(result) for result in collection.results]))
    drawn = [to / name for name in figures.values()]
    if study.qualitative is None:
        pictures = _overlays(placed, collection, tests, output)
    else:
        shown_slices = slices_of(study, study.qualitative, collection, tests)
        pictures = write_slices(placed, study.qualitative, shown_slices, tests, places, output=output, to=to)
        figures["slices"] = page_name(study.name)
    write_text(markdown, to_markdown(placed, collection, tables, fine, figures, places))
    return [markdown, csv, *drawn, *pictures]


def _bars(study: Study, tables: tuple[ProtocolTable, ...], to: Path) -> dict[str, str]:
    """Draw the bars of each table that there are numbers for; return the file names by what they show."""
    figures = {}
    for name, panels in by_name(study, tables).items():
        if any(line.summary for table in panels for line in table.lines):
            shows = f"bars {name}".strip()
            figures[shows] = f"{study.name}-{shows.replace(' ', '-')}.png"
            draw_bars(panels, panels[0].compared_with[0], to / figures[shows])
    return figures


def _fractions(study: Study, fine: tuple[Curve, ...], to: Path) -> dict[str, str]:
    """Draw the curves if there are numbers; return the file name by what it shows."""
    if not any(summary for curve in fine for summary in curve.by_fraction.values()):
        return {}
    name = f"{study.name}-fractions.png"
    draw_fractions(fine, to / name)
    return {"fractions": name}


def _overlays(
    placed: PlacedStudy, collection: Collection, tests: dict[str, TestVolume], output: Path
) -> list[Path]:
    """Draw each protocol's arms by the first seed that is there."""
    study, paths = placed.study, []
    for protocol in study.protocol:
        runs: dict[str, Path] = {}
        for result in collection.results:
            if result.protocol == protocol.name and result.fraction is None:
                runs.setdefault(study.arm_named(result.arm).words, result.folder)
        if runs:
            paths.append(output / f"{study.name}-overlay-{protocol.name}.png")
            draw_overlays(tests[protocol.name], runs, paths[-1])
    return paths
