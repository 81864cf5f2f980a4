"""The report's files: NAME.md, NAME.csv and figures; pictures of the test volumes stay with the runs."""

from pathlib import Path

from dmn_train.files import translate_write_errors, write_text
from dmn_train.study.collect import Collection, shown
from dmn_train.study.figures import draw_bars, draw_fractions, draw_overlays
from dmn_train.study.markdown import Places, to_markdown
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.rows import row_of, to_csv
from dmn_train.study.tables import Curve, ProtocolTable, curves, protocol_tables
from dmn_train.study.test_volume import TestVolume


def write_report(
    placed: PlacedStudy, collection: Collection, tests: dict[str, TestVolume], output: Path, to: Path
) -> list[Path]:
    """Write the report and return its files.

    Args:
        placed: the study.
        collection: what there is of it.
        tests: the test volume of every protocol.
        output: folder of the runs; gets the overlays.
        to: folder of the report.

    Raises:
        DmnError: a run is damaged, or a file cannot be written.
    """
    study = placed.study
    for folder in (to, output):
        with translate_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    tables, fine = protocol_tables(study, collection), curves(study, collection)
    figures = _figures(study.name, study.baseline, tables, fine, to)
    places = Places(shown(placed.path), shown(output), shown(to))
    csv, markdown = to / f"{study.name}.csv", to / f"{study.name}.md"
    write_text(csv, to_csv([row_of(result) for result in collection.results]))
    write_text(markdown, to_markdown(placed, collection, tables, fine, figures, places))
    return [
        markdown,
        csv,
        *(to / name for name in figures.values()),
        *_overlays(placed, collection, tests, output),
    ]


def _figures(
    name: str, baseline: str, tables: tuple[ProtocolTable, ...], fine: tuple[Curve, ...], to: Path
) -> dict[str, str]:
    """Draw what there are numbers for; return the file names."""
    figures = {}
    if any(line.summary for table in tables for line in table.lines):
        figures["bars"] = f"{name}-bars.png"
        draw_bars(tables, baseline, to / figures["bars"])
    if any(summary for curve in fine for summary in curve.by_fraction.values()):
        figures["fractions"] = f"{name}-fractions.png"
        draw_fractions(fine, to / figures["fractions"])
    return figures


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
