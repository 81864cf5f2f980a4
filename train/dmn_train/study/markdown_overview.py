"""The head of a report: the scores of all protocols side by side, and nothing else."""

from dmn_train.study.markdown_cells import spread_cell
from dmn_train.study.markdown_table import NOTHING, table
from dmn_train.study.report_sections import OTHERS
from dmn_train.study.sections import Study
from dmn_train.study.tables import ProtocolTable, by_name


def overview(study: Study, tables: tuple[ProtocolTable, ...]) -> str:
    """Return foreground IoUs, a line an arm and a column a protocol, of each table that stands in several.

    Returns:
        Markdown; "" where no table stands in several protocols.
    """
    several = [some for some in by_name(study, tables).values() if len(some) > 1]
    parts = [part for some in several for part in _beside(some, tuple(arm.name for arm in study.arm))]
    return "\n\n".join(["## At a glance", *parts]) if parts else ""


def _beside(tables: tuple[ProtocolTable, ...], arms: tuple[str, ...]) -> list[str]:
    """Return heading and table of the tables of one name.

    Args:
        tables: a protocol each; those of `OTHERS` have arms of their own each.
        arms: of the study, in its order.
    """
    section = tables[0].section
    words = {line.arm.name: line.arm.words for one in tables for line in one.lines}
    columns = [
        {line.arm.name: spread_cell(line.summary.volume) for line in one.lines if line.summary}
        for one in tables
    ]
    rows = [
        [words[arm], *(column.get(arm, NOTHING) for column in columns)]
        for arm in (arms if section is None or section.name == OTHERS else section.arms)
        if arm in words
    ]
    heading = [] if section is None else [f"**{section.heading}**"]
    return [*heading, table(["fg IoU", *(one.protocol.name for one in tables)], rows)]
