"""`dmn budget`: does this machine keep up with an acquisition?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmn_runtime.errors import UsageError

if TYPE_CHECKING:
    from dmn_runtime.bench.result import Bench
    from dmn_runtime.package import Package


def command(
    package: Annotated[str, typer.Argument(help="Package (.zip), or the word demo for the embedded one.")],
    volume: Annotated[
        str | None, typer.Argument(help="A volume to measure on [a phantom].", show_default=False)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="MVOXEL_PER_S", help="What the microscope delivers, net.", show_default=False),
    ] = None,
    dwell_ns: Annotated[
        float | None, typer.Option(help="Or its scan: dwell time on a pixel.", show_default=False)
    ] = None,
    beams: Annotated[int | None, typer.Option(help="Beams that scan side by side [1].")] = None,
    overhead: Annotated[
        float | None, typer.Option(help="Share of the time that is lost, 0 to 1 [0].")
    ] = None,
    tile_px: Annotated[
        int | None, typer.Option(help="Edge of the tile of one beam.", show_default=False)
    ] = None,
    overhead_s_per_tile: Annotated[
        float | None, typer.Option(help="Seconds that are lost at every tile [0].")
    ] = None,
    voxel_nm: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X", help="Voxel size of the acquisition in nm, for which resampling is measured."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine: auto (the fastest here), or one.")] = "auto",
    precision: Annotated[str, typer.Option(help="Precision: auto (the fastest), or one.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Tiles computed side by side [one a core].")] = None,
    seconds: Annotated[
        float,
        typer.Option(help="A run that takes so long is judged; the phantom grows until then."),
    ] = 10.0,
    from_path: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="BENCH.json",
            help="Take what dmn bench --json found on this machine.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say whether this machine keeps up with an acquisition, which stage limits it, and what would mend that.

    Without --rate or --dwell-ns: with the published rates of five kinds of microscope. Measures PACKAGE for
    a minute or so, unless --from is given.
    """
    from dmn_runtime.bench.measure import BenchOptions
    from dmn_runtime.budget.measured import measured, refuse_seconds, speed_of
    from dmn_runtime.budget.mends import mends, situation_of
    from dmn_runtime.budget.rates import Scan, acquisitions
    from dmn_runtime.budget.text import budget_json, budget_text
    from dmn_runtime.budget.verdict import verdict
    from dmn_runtime.commands.infer import parse_spacing
    from dmn_runtime.package import open_package, resolve_package
    from dmn_runtime.terminating import terminating

    scan = Scan(dwell_ns, beams, overhead, tile_px, overhead_s_per_tile)
    wanted = acquisitions(rate, scan)
    refuse_seconds(seconds)
    opened = open_package(resolve_package(package))
    if from_path is None:
        spacing = None if voxel_nm is None else parse_spacing("--voxel-nm", voxel_nm)
        options = BenchOptions(package, volume, spacing, engine, precision, workers, quick=True)
        with terminating():
            bench = measured(options, seconds, _say)
    else:
        if (volume, voxel_nm, engine, precision, workers) != (None, None, "auto", "auto", None):
            raise UsageError(
                "--from takes what was measured as it is: leave out the volume, --voxel-nm, --engine, "
                "--precision and --workers, or measure anew without --from"
            )
        bench = _earlier(from_path, opened)
    speed = speed_of(bench, seconds)
    verdicts = [verdict(one, speed) for one in wanted]
    advice = mends(situation_of(bench, sorted(opened.contract.precisions)), verdicts)
    typer.echo(
        json.dumps(budget_json(bench, speed, verdicts, advice), allow_nan=False)
        if as_json
        else "\n".join(budget_text(bench, speed, verdicts, advice))
    )


def _earlier(path: Path, package: "Package") -> "Bench":
    """Return an earlier bench, and warn where it is not of this machine.

    Raises:
        UsageError: it cannot be read, or is of another package.
    """
    from dmn_runtime.bench.result import read_bench
    from dmn_runtime.gpu.inquiry import visible_gpus
    from dmn_runtime.machine import machine_facts

    bench = read_bench(path)
    if bench.package.sha256 != package.sha256:
        raise UsageError(
            f"{path} was measured with another package ({bench.package.name}): measure {package.path} "
            "with dmn bench --json"
        )
    here, then = machine_facts(), bench.machine
    gpus = tuple(gpu.name for gpu in visible_gpus())
    if (here.cpu, here.logical_cores, gpus) != (then.cpu, then.logical_cores, bench.gpus):
        _say(f"warning: {path} was measured on another machine ({then.cpu}, {then.logical_cores} cores)")
    return bench


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
