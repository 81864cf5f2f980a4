"""The numbers of a study in the shape of its report: for each protocol a line an arm, and the curve."""

from dataclasses import dataclass

from dmn_train.study.collect import Collection
from dmn_train.study.score import Score
from dmn_train.study.sections import ArmSection, ProtocolSection, Study
from dmn_train.study.summary import Summary, summarise


@dataclass(frozen=True)
class ArmLine:
    """An arm in a protocol; `summary` is None while no run is there, `published` where there is no figure."""

    arm: ArmSection
    summary: Summary | None
    published: float | None


@dataclass(frozen=True)
class ProtocolTable:
    """A protocol with a line for each arm that takes part."""

    protocol: ProtocolSection
    lines: tuple[ArmLine, ...]


@dataclass(frozen=True)
class Curve:
    """Fine-tuning of one arm: a summary (None while no run is there) for each fraction, 0 the arm itself."""

    arm: ArmSection
    by_fraction: dict[float, Summary | None]


def protocol_tables(study: Study, collection: Collection) -> tuple[ProtocolTable, ...]:
    """Return the table of every protocol."""
    return tuple(_table(study, collection, protocol) for protocol in study.protocol)


def _table(study: Study, collection: Collection, protocol: ProtocolSection) -> ProtocolTable:
    compared = {name: _scores(collection, protocol.name, name, None) for name in study.compared_with}
    lines = []
    for arm in study.arms_of(protocol):
        found = _scores(collection, protocol.name, arm.name, None)
        others = {name: scores for name, scores in compared.items() if name != arm.name}
        rules = {
            r.seed: r.by_rule
            for r in collection.results
            if (r.protocol, r.arm, r.fraction) == (protocol.name, arm.name, None)
        }
        summary = summarise(found, others, rules) if found else None
        lines.append(ArmLine(arm, summary, protocol.published.get(arm.name)))
    return ProtocolTable(protocol, tuple(lines))


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


def _scores(collection: Collection, protocol: str, arm: str, fraction: float | None) -> dict[int, Score]:
    wanted = (protocol, arm, fraction)
    return {r.seed: r.score for r in collection.results if (r.protocol, r.arm, r.fraction) == wanted}
