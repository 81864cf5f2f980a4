"""What a bench found, and its JSON (docs/bench.md)."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.rounds import Ceilings, EndToEnd, Extent, Rate, Round, figures_of
from dmn_runtime.bench.stages import Stage, stages_of
from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.machine import Machine
from dmn_runtime.report import GpuFacts, PackageFacts, PlanFacts
from dmn_runtime.stream import Threads
from dmn_runtime.whole_file import whole_file

FORMAT = "dmn-bench"
FORMAT_VERSION = 1

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class EngineFacts:
    """What ran: engine, precision, description and reason; and what was asked for, "auto" or a word."""

    engine: str
    precision: str
    on_gpu: bool
    description: str
    reason: str
    asked_engine: str
    asked_precision: str


@dataclass(frozen=True)
class VolumeFacts:
    """What was measured on.

    `name` without folders; `shape` zyx; `voxel_nm` and `working_voxel_nm` in nm, zyx, None where unknown;
    `fingerprint` is None for the phantom that dmn makes, which is always the same.
    """

    name: str
    format: str
    shape: Triple
    dtype: str
    voxel_nm: Spacing | None
    working_voxel_nm: Spacing | None
    fingerprint: str | None

    @property
    def resampled(self) -> bool:
        """Tell whether the network works at another voxel size than the volume's."""
        return self.voxel_nm != self.working_voxel_nm


@dataclass(frozen=True)
class Bench:
    """One run of `dmn bench`.

    Attributes:
        measured: UTC, ISO 8601.
        quick: whether it was the short form.
        machine: see `Machine`.
        gpus: that the driver names.
        versions: library to version.
        load_average: of the last minute before the measurement, None where the system does not tell.
        package: see `PackageFacts`.
        multiply_adds_per_px: of the network, None where the package does not state them.
        engine: see `EngineFacts`.
        volume: see `VolumeFacts`.
        plan: see `PlanFacts`.
        workers: engine threads that were asked for.
        threads: see `Threads`: of the runs end to end.
        extent: what the network alone was run on.
        ceilings: what they were measured with, in words.
        peak_rss_bytes: largest resident memory of a run end to end, None where the system does not tell.
        rounds: everything that was measured.
    """

    measured: str
    quick: bool
    machine: Machine
    gpus: tuple[str, ...]
    versions: dict[str, str]
    load_average: float | None
    package: PackageFacts
    multiply_adds_per_px: float | None
    engine: EngineFacts
    volume: VolumeFacts
    plan: PlanFacts
    workers: int
    threads: Threads
    extent: Extent
    ceilings: str
    peak_rss_bytes: int | None
    rounds: tuple[Round, ...]

    @property
    def figures(self) -> dict[str, Figure]:
        """Every figure over the rounds."""
        return figures_of(self.rounds, self.extent, self.multiply_adds_per_px)

    @property
    def shares(self) -> frozenset[tuple[int, int, int, int]]:
        """What went through a GPU at once in the runs end to end; empty on a processor."""
        runs = [one.end_to_end.gpu for one in self.rounds]
        return frozenset(gpu.share for gpu in runs if gpu is not None)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the runs end to end."""
        return stages_of([one.end_to_end for one in self.rounds], self.threads)


def to_json(bench: Bench) -> dict[str, Any]:
    """Return a bench as plain JSON values, with the figures and stages that follow from its rounds."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **asdict(bench),
        "figures": {name: asdict(figure) for name, figure in bench.figures.items()},
        "stages": [asdict(stage) for stage in bench.stages],
    }


def write_bench(path: Path, bench: Bench) -> None:
    """Write the JSON, whole or not at all.

    Raises:
        OutputError: the path cannot be written; nothing is left behind.
    """
    text = json.dumps(to_json(bench), indent=2, allow_nan=False) + "\n"
    with whole_file(path, "benchmark") as partial:
        partial.write_text(text, encoding="utf-8")


def read_bench(path: Path) -> Bench:
    """Read what `write_bench` wrote; figures and stages are computed anew.

    Raises:
        UsageError: it cannot be read, or is not of this format and version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): name a file that dmn bench --json wrote"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: name a file that dmn bench --json wrote") from error
    found = (document.get("format"), document.get("format_version")) if isinstance(document, dict) else None
    if found != (FORMAT, FORMAT_VERSION):
        raise UsageError(
            f"{path} is not of the format {FORMAT} {FORMAT_VERSION}: measure again with dmn bench --json"
        )
    try:
        bench = _from_json(document)
        if not bench.stages or min(figure.min for figure in bench.figures.values()) <= 0:
            raise ValueError("nothing was measured")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{path} is damaged ({error!r}): measure again with dmn bench --json") from error
    return bench


def _from_json(document: dict[str, Any]) -> Bench:
    volume = dict(document["volume"])
    volume["shape"] = _triple(volume["shape"], int)
    for name in ("voxel_nm", "working_voxel_nm"):
        volume[name] = None if volume[name] is None else _triple(volume[name], float)
    plan = dict(document["plan"])
    plan |= {name: _triple(plan[name], int) for name in ("block", "tile")}
    known = ("measured", "quick", "versions", "load_average", "multiply_adds_per_px", "workers", "ceilings")
    return Bench(
        machine=Machine(**document["machine"]),
        gpus=tuple(document["gpus"]),
        package=PackageFacts(**document["package"]),
        engine=EngineFacts(**document["engine"]),
        volume=VolumeFacts(**volume),
        plan=PlanFacts(**plan),
        threads=Threads(**document["threads"]),
        extent=Extent(**document["extent"]),
        peak_rss_bytes=document["peak_rss_bytes"],
        rounds=tuple(_round(one) for one in document["rounds"]),
        **{name: document[name] for name in known},
    )


def _triple(values: list[Any], kind: Callable[[Any], _Value]) -> tuple[_Value, _Value, _Value]:
    z, y, x = (kind(value) for value in values)
    return z, y, x


def _round(one: dict[str, Any]) -> Round:
    return Round(
        one["network_only_s"],
        Rate(**one["gather"]),
        Rate(**one["scatter"]),
        _end_to_end(one["end_to_end"]),
        None if one["ceilings"] is None else Ceilings(**one["ceilings"]),
    )


def _end_to_end(one: dict[str, Any]) -> EndToEnd:
    gpu = one.get("gpu")
    return EndToEnd(**{**one, "gpu": None if gpu is None else GpuFacts(**gpu)})
