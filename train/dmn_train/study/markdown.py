"""The report as Markdown: what was asked, the tables, and how every number was made."""

from dataclasses import dataclass

from dmn_runtime.bootstrap import Interval
from dmn_train.study.collect import Collection
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.rules import RULES
from dmn_train.study.sections import Study
from dmn_train.study.summary import RESAMPLES, Spread, Summary
from dmn_train.study.tables import Curve, ProtocolTable
from dmn_train.study.toml import to_toml
from dmn_train.validate import THRESHOLD

NOTHING = "-"
_READING = f"""\
Foreground IoU over all voxels that count, probability of the run's threshold ({THRESHOLD} after `dmn train`)
and above, no post-processing: mean ± standard deviation over seeds (number of seeds). Interval: 95 % of
{RESAMPLES} bootstrap means over seeds, slices drawn with replacement, the same draws for every seed and
method. Difference: to {{others}}, seed by seed on the same draws. By held_out, solidity, entropy: had that
rule chosen among the run's snapshots, not the last step; no label of the target is read (docs/selection.md).
Oracle: the best of each run's snapshots and its kept weights **by the test labels**; nobody without labels
can have it, so it is no result, and stands here to show what the choice of weights costs. Transductive: some
method adapts, without labels, to a part of what is tested; inductive: none does."""


@dataclass(frozen=True)
class Places:
    """How the report calls files: the study, the runs' folder, the report's folder; for readers elsewhere."""

    study: str
    output: str
    report: str


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
        figures: file names by what they show: "bars", "fractions"; those that there are.
        places: how files are called.
    """
    study = placed.study
    parts = [
        f"# {study.title or study.name}",
        study.intro.strip(),
        f"{collection.finished} of {collection.planned} planned runs are finished. "
        f"One line a run: [{study.name}.csv]({study.name}.csv).",
        _READING.format(others=" and to ".join(f"`{name}`" for name in study.compared_with)),
        _image("foreground IoU by method", figures.get("bars")),
        *(_protocol(table, study, table.protocol.name in collection.transductive) for table in tables),
        _fine_tuning(fine, study, figures.get("fractions")),
        _made(placed, collection, places),
        study.footnote.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _image(words: str, name: str | None) -> str:
    return f"![{words}]({name})" if name else ""


def _protocol(table: ProtocolTable, study: Study, transductive: bool) -> str:
    protocol = table.protocol
    heading = f"## {protocol.name} ({'transductive' if transductive else 'inductive'})"
    heading += f": {protocol.words}" if protocol.words else ""
    names = ["method", "fg IoU", "95 %", "mean of slices"]
    names += [name for other in study.compared_with for name in (f"minus `{other}`", "95 %")]
    rows = [
        [
            line.arm.words,
            *_cells(line.summary, study.compared_with),
            _by_seed(line.summary, study),
            *(_spread(line.summary.by_rule.get(rule) if line.summary else None) for rule in RULES),
            _spread(line.summary.oracle if line.summary else None),
            NOTHING if line.published is None else f"{line.published:.3f}",
        ]
        for line in table.lines
    ]
    seeds = f"seeds {', '.join(map(str, study.seeds))}"
    rules = [f"by {rule}" for rule in RULES]
    parts = [heading, _table([*names, seeds, *rules, "oracle (not allowed)", "published"], rows)]
    if protocol.published_words:
        parts.append(f"Published: {protocol.published_words.strip()}")
    return "\n\n".join(parts)


def _cells(summary: Summary | None, compared_with: tuple[str, ...]) -> list[str]:
    if summary is None:
        return [NOTHING] * (3 + 2 * len(compared_with))
    cells = [_spread(summary.volume), _bounds(summary.low_high), f"{summary.slices.mean:.3f}"]
    for other in compared_with:
        minus = summary.minus.get(other)
        cells += [
            _spread(minus.volume if minus else None, signed=True),
            _bounds(minus.low_high if minus else None, signed=True),
        ]
    return cells


def _spread(spread: Spread | None, *, signed: bool = False) -> str:
    if spread is None:
        return NOTHING
    sd = "" if spread.sd is None else f" ± {spread.sd:.3f}"
    return f"{_number(spread.mean, signed=signed)}{sd} ({spread.n})"


def _bounds(bounds: Interval | None, *, signed: bool = False) -> str:
    return NOTHING if bounds is None else " to ".join(_number(bound, signed=signed) for bound in bounds)


def _number(value: float, *, signed: bool = False) -> str:
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def _by_seed(summary: Summary | None, study: Study) -> str:
    found = summary.volume.by_seed if summary else {}
    return ", ".join(f"{found[seed]:.3f}" if seed in found else NOTHING for seed in study.seeds)


def _table(names: list[str], rows: list[list[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _fine_tuning(fine: tuple[Curve, ...], study: Study, figure: str | None) -> str:
    if study.finetune is None:
        return ""
    rows = [
        [f"{fraction:g}", *(_spread(_volume(curve.by_fraction[fraction])) for curve in fine)]
        for fraction in (0.0, *study.finetune.fractions)
    ]
    parts = [
        f"## Fine-tuning on a part of the target's labels, tested as in {study.finetune.protocol}",
        "Foreground IoU by the share of the labelled slices; 0 is the run that fine-tuning starts from.",
        _image("foreground IoU against the share of labels", figure),
        _table(["share", *(curve.arm.words for curve in fine)], rows),
    ]
    return "\n\n".join(part for part in parts if part)


def _volume(summary: Summary | None) -> Spread | None:
    return None if summary is None else summary.volume


def _made(placed: PlacedStudy, collection: Collection, places: Places) -> str:
    study = placed.study
    words = f"dmn study {places.study} -o {places.output} --report-to {places.report}"
    parts = [
        "## How it was made",
        _code(f"{words}\n{words} --report-only   # the report alone, from finished runs"),
        f"The first writes the recipe of each run and trains it: `{study.recipe}` (from the study's folder)\n"
        "with the keys below laid over it, the protocol's before the method's.",
        "<details><summary>Keys of methods and protocols</summary>",
        _keys(study),
        "</details>",
        "<details><summary>The command of every run</summary>",
        _runs(collection),
        "</details>",
    ]
    return "\n\n".join(parts)


def _keys(study: Study) -> str:
    blocks = [
        (f"arm {arm.name}" + (f", starts from {arm.init}" if arm.init else ""), arm.set_) for arm in study.arm
    ]
    blocks += [(f"protocol {protocol.name}", protocol.set_) for protocol in study.protocol]
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
    return _table(
        ["run", "command", "steps", "seconds of the last stretch", "device", "weights sha256"], rows
    )


def _code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"
