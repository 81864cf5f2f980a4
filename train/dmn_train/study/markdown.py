"""The report as Markdown: what was asked, the tables, and how every number was made."""

from dmn_runtime.bootstrap import Interval
from dmn_train.study.collect import Collection
from dmn_train.study.costs import BUDGET_NAMES, BUDGET_READING, budget_cells, hours_note
from dmn_train.study.markdown_cells import number, spread_cell
from dmn_train.study.markdown_overview import overview
from dmn_train.study.markdown_structures import objects_and_boundaries
from dmn_train.study.markdown_table import NOTHING, table, without_empty_columns
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.report_sections import TableSection
from dmn_train.study.rules import RULES
from dmn_train.study.sections import ProtocolSection, Study
from dmn_train.study.summary import RESAMPLES, Spread, Summary
from dmn_train.study.tables import ArmLine, Curve, ProtocolTable, by_name
from dmn_train.study.toml import to_toml
from dmn_train.validate import THRESHOLD

_STARTS = {"init": "starts from", "teacher": "taught by"}
_READING = f"""\
Foreground IoU over all voxels that count, probability of the run's threshold ({THRESHOLD} after `dmn train`)
and above, no post-processing: mean ± standard deviation over seeds (number of seeds). Interval: 95 % of
{RESAMPLES} bootstrap means over seeds, slices drawn with replacement, the same draws for every seed and
method. Difference: to {{others}}, seed by seed on the same draws. By held_out, solidity, entropy: had that
rule chosen among the run's snapshots, not the last step; no label of the target is read (docs/selection.md).
Oracle: the best of each run's snapshots and its kept weights **by the test labels**; nobody without labels
can have it, so it is no result, and stands here to show what the choice of weights costs. Transductive: some
method adapts, without labels, to a part of what is tested; inductive: none does."""


def to_markdown(
    placed: PlacedStudy,
    collection: Collection,
    tables: tuple[ProtocolTable, ...],
    fine: tuple[Curve, ...],
    figures: dict[str, str],
    places: Places,
) -> str:
    """Write the report.

    Args:
        placed: the study.
        collection: what there is of it.
        tables: of its protocols.
        fine: curves of fine-tuning; may be empty.
        figures: file names by what they show, "bars" and "fractions", or "bars NAME" of each table that the
            study names, "slices" of the page of single slices; those that there are.
        places: how files are called.
    """
    study = placed.study
    parts = [
        f"# {study.title or study.name}",
        study.intro.strip(),
        f"{collection.finished} of {collection.planned} planned runs are finished. "
        f"One line a run: [{study.name}.csv]({study.name}.csv).",
        _READING.format(others=_others(study)),
        BUDGET_READING if study.table else "",
        overview(study, tables),
        _pages(figures.get("slices")),
        *_bars(study, tables, figures),
        *(
            part
            for protocol in study.protocol
            for part in (
                _protocol(protocol, tables, study, transductive=protocol.name in collection.transductive),
                objects_and_boundaries(protocol, study, collection),
            )
        ),
        _fine_tuning(fine, study, figures.get("fractions")),
        _made(placed, collection, places),
        study.footnote.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _image(words: str, name: str | None) -> str:
    return f"![{words}]({name})" if name else ""


def _others(study: Study) -> str:
    if study.table:
        return "the method at the column's head"
    return " and to ".join(f"`{name}`" for name in study.compared_with)


def _pages(slices: str | None) -> str:
    return f"Best, median and worst slices, and what is still wrong: [{slices}]({slices})." if slices else ""


def _bars(study: Study, tables: tuple[ProtocolTable, ...], figures: dict[str, str]) -> list[str]:
    """Return the images of bars: one of all arms, or one a table that the study names."""
    images = [_image("foreground IoU by method", figures.get("bars"))]
    for name, (first, *_) in by_name(study, tables).items():
        if first.section is not None:
            images.append(_image(f"foreground IoU: {first.section.heading}", figures.get(f"bars {name}")))
    return images


def _protocol(
    protocol: ProtocolSection, tables: tuple[ProtocolTable, ...], study: Study, *, transductive: bool
) -> str:
    heading = f"## {protocol.name} ({'transductive' if transductive else 'inductive'})"
    heading += f": {protocol.words}" if protocol.words else ""
    parts = [heading]
    for one in tables:
        if one.protocol is protocol:
            parts += _scores(one, study) if one.section is None else _named(one, one.section, study)
    if protocol.published_words:
        parts.append(f"Published: {protocol.published_words.strip()}")
    return "\n\n".join(parts)


def _scores(one: ProtocolTable, study: Study) -> list[str]:
    """Return the one table of a study that names none."""
    return [table(_names(one, study), [_line(line, one, study) for line in one.lines])]


def _named(one: ProtocolTable, section: TableSection, study: Study) -> list[str]:
    """Return a table that the study names: heading, words, lines with what they cost, and on what."""
    names = [*_names(one, study), *BUDGET_NAMES]
    rows = [[*_line(line, one, study), *budget_cells(line.budget)] for line in one.lines]
    parts = [f"### {section.heading}", section.words.strip(), table(*without_empty_columns(names, rows))]
    return [part for part in (*parts, hours_note(one.lines)) if part]


def _names(one: ProtocolTable, study: Study) -> list[str]:
    names = ["method", "fg IoU", "95 %", "mean of slices"]
    names += [name for other in one.compared_with for name in (f"minus `{other}`", "95 %")]
    rules = [f"by {rule}" for rule in RULES]
    seeds = f"seeds {', '.join(map(str, study.seeds))}"
    return [*names, seeds, *rules, "oracle (not allowed)", "published"]


def _line(line: ArmLine, one: ProtocolTable, study: Study) -> list[str]:
    return [
        line.arm.words,
        *_cells(line.summary, one.compared_with),
        _by_seed(line.summary, study),
        *(spread_cell(line.summary.by_rule.get(rule) if line.summary else None) for rule in RULES),
        spread_cell(line.summary.oracle if line.summary else None),
        NOTHING if line.published is None else f"{line.published:.3f}",
    ]


def _cells(summary: Summary | None, compared_with: tuple[str, ...]) -> list[str]:
    if summary is None:
        return [NOTHING] * (3 + 2 * len(compared_with))
    cells = [spread_cell(summary.volume), _bounds(summary.low_high), f"{summary.slices.mean:.3f}"]
    for other in compared_with:
        minus = summary.minus.get(other)
        cells += [
            spread_cell(minus.volume if minus else None, signed=True),
            _bounds(minus.low_high if minus else None, signed=True),
        ]
    return cells


def _bounds(bounds: Interval | None, *, signed: bool = False) -> str:
    return NOTHING if bounds is None else " to ".join(number(bound, signed=signed) for bound in bounds)


def _by_seed(summary: Summary | None, study: Study) -> str:
    found = summary.volume.by_seed if summary else {}
    return ", ".join(f"{found[seed]:.3f}" if seed in found else NOTHING for seed in study.seeds)


def _fine_tuning(fine: tuple[Curve, ...], study: Study, figure: str | None) -> str:
    if study.finetune is None:
        return ""
    rows = [
        [f"{fraction:g}", *(spread_cell(_volume(curve.by_fraction[fraction])) for curve in fine)]
        for fraction in (0.0, *study.finetune.fractions)
    ]
    parts = [
        f"## Fine-tuning on a part of the target's labels, tested as in {study.finetune.protocol}",
        "Foreground IoU by the share of the labelled slices; 0 is the run that fine-tuning starts from.",
        _image("foreground IoU against the share of labels", figure),
        table(["share", *(curve.arm.words for curve in fine)], rows),
    ]
    return "\n\n".join(part for part in parts if part)


def _volume(summary: Summary | None) -> Spread | None:
    return None if summary is None else summary.volume


def _made(placed: PlacedStudy, collection: Collection, places: Places) -> str:
    study = placed.study
    parts = [
        "## How it was made",
        _code(f"{places.command}\n{places.command} --report-only   # the report alone, from finished runs"),
        f"The first writes the recipe of each run and trains it: `{study.recipe}` (from the study's folder)\n"
        f"with the keys below laid over it, {_order(study)}.",
        "<details><summary>Keys of methods and protocols</summary>",
        _keys(study),
        "</details>",
        "<details><summary>The command of every run</summary>",
        _runs(collection),
        "</details>",
    ]
    return "\n\n".join(parts)


def _order(study: Study) -> str:
    """Say whose keys lie above whose."""
    if study.source:
        return "the source's, then the protocol's, then the method's"
    return "the protocol's before the method's"


def _keys(study: Study) -> str:
    blocks = [
        (
            f"arm {arm.name}" + "".join(f", {_STARTS[key]} {name}" for key, name in arm.starts.items()),
            arm.set_,
        )
        for arm in study.arm
    ]
    blocks += [(f"source {source.name}", source.set_) for source in study.source]
    blocks += [
        (
            f"protocol {protocol.name}" + (f", source {protocol.source}" if protocol.source else ""),
            protocol.set_,
        )
        for protocol in study.protocol
    ]
    if study.finetune is not None:
        blocks.append(("fine-tuning", study.finetune.set_))
    texts = [f"# {title}\n{to_toml(keys) if keys else ''}" for title, keys in blocks]
    return _code("\n".join(texts).strip(), "toml")


def _runs(collection: Collection) -> str:
    runs = {result.run: result for result in collection.results}
    rows = [
        [
            run,
            f"`{result.command}`" if result.command else "taken as it is",
            str(result.facts["steps"]),
            f"{result.facts['wall_s']:.0f}",
            result.facts["device_name"],
            f"`{result.facts['weights_sha256'][:12]}`",
        ]
        for run, result in runs.items()
    ]
    return table(["run", "command", "steps", "seconds of the last stretch", "device", "weights sha256"], rows)


def _code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"
