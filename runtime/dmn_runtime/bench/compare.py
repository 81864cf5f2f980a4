"""Two benches side by side: the ratio new / old of every figure, with the spread of both."""

from dataclasses import dataclass

from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.result import Bench
from dmn_runtime.bench.wording import WORDINGS, shown, table


@dataclass(frozen=True)
class Ratio:
    """New over old: of the medians, and the smallest and largest that any two rounds give."""

    median: float
    min: float
    max: float


def ratio_of(new: Figure, old: Figure) -> Ratio | None:
    """Return new / old, None where the old figure was 0."""
    if old.min <= 0:
        return None
    return Ratio(new.median / old.median, new.min / old.max, new.max / old.min)


def differences(new: Bench, old: Bench) -> tuple[str, ...]:
    """Name what is not the same in two benches, so that their ratio says less: empty where all is."""
    mine, other = _conditions(new), _conditions(old)
    return tuple(name for name, value in mine.items() if value != other[name])


def _conditions(bench: Bench) -> dict[str, object]:
    machine, engine = bench.machine, bench.engine
    return {
        "machine": (machine.cpu, machine.logical_cores, machine.os, bench.gpus),
        "package": bench.package.sha256,
        "volume": bench.volume,
        "engine": (engine.engine, engine.description, bench.workers),
        "share of the GPU": bench.shares,
        "plan": bench.plan,
    }


def compare_text(new: Bench, old: Bench, name: str) -> list[str]:
    """Return the comparison as lines for people.

    Args:
        new: the later one.
        old: the earlier one.
        name: of the old one.
    """
    lines = [f"against {name} ({old.measured}, dmn {old.versions['dmn']}):"]
    rows = [("", "old", "new", "new / old", "spread", "")]
    for figure, wording in WORDINGS.items():
        if figure not in new.figures or figure not in old.figures:
            continue
        a, b = new.figures[figure], old.figures[figure]
        ratio = ratio_of(a, b)
        if ratio is not None:
            rows.append(
                (
                    wording.words,
                    shown(figure, b.median),
                    shown(figure, a.median),
                    f"{ratio.median:.3f}",
                    f"{ratio.min:.3f} to {ratio.max:.3f}",
                    wording.unit,
                )
            )
    different = differences(new, old)
    if different:
        lines.append(f"warning: not measured alike: another {' and another '.join(different)}")
    return [*lines, *table(rows)]
