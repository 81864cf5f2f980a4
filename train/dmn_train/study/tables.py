"""The numbers of a study in the shape of its report: in each protocol lines of arms, and the curve."""

from dataclasses import dataclass

from dmn_train.study.budget import Budget, Chains
from dmn_train.study.collect import Collection
from dmn_train.study.report_sections import OTHERS, TableSection
from dmn_train.study.result import Result
from dmn_train.study.score import Score
from dmn_train.study.sections import ArmSection, ProtocolSection, Study
from dmn_train.study.summary import Summary, summarise


@dataclass(frozen=True)
class ArmLine:
    """An arm in a protocol.

    Attributes:
        arm: the arm.
        summary: its scores; None while no run is there.
        published: a figure of others; None where there is none.
        budget: what it cost; None while no run is there, or where the study names no tables.
    """

    arm: ArmSection
    summary: Summary | None
    published: float | None
    budget: Budget | None = None


@dataclass(frozen=True)
class ProtocolTable:
    """A line for each arm of a table that takes part in a protocol.

    Attributes:
        protocol: the protocol.
        lines: of arms.
        compared_with: the arms that each other one is compared with, by name.
        section: as the study file has it; None for the one table of a study that names none.
    """

    protocol: ProtocolSection
    lines: tuple[ArmLine, ...]
    compared_with: tuple[str, ...]
    section: TableSection | None = None

    @property
    def name(self) -> str:
        """Of the table; "" for the one table of a study that names none."""
        return "" if self.section is None else self.section.name


@dataclass(frozen=True)
class Curve:
    """Fine-tuning of one arm: a summary (None while no run is there) for each fraction, 0 the arm itself."""

    arm: ArmSection
    by_fraction: dict[float, Summary | None]


def protocol_tables(study: Study, collection: Collection) -> tuple[ProtocolTable, ...]:
    """Return the tables of every protocol, protocol by protocol.

    Without tables in the study file there is one of all arms. With them, arms that stand in none of those
    of a protocol have a last one, so that no result is left out.

    Raises:
        RunError: a run that another one started from is damaged.
    """
    if not study.table:
        return tuple(
            _table(study, collection, protocol, tuple(study.arms_of(protocol)), None)
            for protocol in study.protocol
        )
    chains = Chains(collection.results)
    return tuple(
        _table(study, collection, protocol, arms, section, chains)
        for protocol in study.protocol
        for section, arms in _sections(study, protocol)
    )


def by_name(study: Study, tables: tuple[ProtocolTable, ...]) -> dict[str, tuple[ProtocolTable, ...]]:
    """Return the tables of one name, a protocol each, by their name, in the order of the study file."""
    names = [section.name for section in study.table] + [OTHERS] if study.table else [""]
    found = {name: tuple(table for table in tables if table.name == name) for name in names}
    return {name: some for name, some in found.items() if some}


def _sections(study: Study, protocol: ProtocolSection) -> list[tuple[TableSection, tuple[ArmSection, ...]]]:
    """Return the tables of a protocol, each with those of its arms that take part."""
    there = {arm.name: arm for arm in study.arms_of(protocol)}
    sections = [section for section in study.table if section.stands_in(protocol.name)]
    placed = {name for section in sections for name in section.arms}
    if left := tuple(name for name in there if name not in placed):
        sections.append(TableSection(name=OTHERS, title="Other arms", arms=left))
    found = [(section, tuple(there[n] for n in section.arms if n in there)) for section in sections]
    return [(section, arms) for section, arms in found if arms]


def _table(
    study: Study,
    collection: Collection,
    protocol: ProtocolSection,
    arms: tuple[ArmSection, ...],
    section: TableSection | None,
    chains: Chains | None = None,
) -> ProtocolTable:
    compared_with = _compared_with(study, section)
    compared = {name: _scores(collection, protocol.name, name, None) for name in compared_with}
    lines = []
    for arm in arms:
        found = _results(collection, protocol.name, arm.name, None)
        scores = {result.seed: result.score for result in found}
        others = {name: scores for name, scores in compared.items() if name != arm.name}
        rules = {result.seed: result.by_rule for result in found}
        summary = summarise(scores, others, rules) if found else None
        budget = chains.budget([result.facts for result in found]) if chains and found else None
        lines.append(ArmLine(arm, summary, protocol.published.get(arm.name), budget))
    return ProtocolTable(protocol, tuple(lines), compared_with, section)


def _compared_with(study: Study, section: TableSection | None) -> tuple[str, ...]:
    if section is None:
        return study.compared_with
    baseline, beside = section.baseline or study.baseline, section.beside or study.beside
    return (baseline,) if beside in (None, baseline) else (baseline, beside)


def curves(study: Study, collection: Collection) -> tuple[Curve, ...]:
    """Return the fine-tuning curve of every arm that has one."""
    section = study.finetune
    if section is None:
        return ()

    def at(arm: str, fraction: float) -> Summary | None:
        found = _scores(collection, section.protocol, arm, fraction or None)
        return summarise(found, {}) if found else None

    return tuple(
        Curve(study.arm_named(arm), {fraction: at(arm, fraction) for fraction in (0.0, *section.fractions)})
        for arm in section.arms
    )


def _results(collection: Collection, protocol: str, arm: str, fraction: float | None) -> list[Result]:
    wanted = (protocol, arm, fraction)
    return [r for r in collection.results if (r.protocol, r.arm, r.fraction) == wanted]


def _scores(collection: Collection, protocol: str, arm: str, fraction: float | None) -> dict[int, Score]:
    return {r.seed: r.score for r in _results(collection, protocol, arm, fraction)}
