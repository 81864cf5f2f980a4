"""`dmn infer`: stream a volume through a package."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import typer
from rich.console import Console

from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.inference import Watch, infer
from dmn_runtime.report import Report, report_json
from dmn_runtime.run_report import preview_path, report_path
from dmn_runtime.setup import Options
from dmn_runtime.sink.paths import final_paths
from dmn_runtime.terminating import terminating
from dmn_runtime.words import counted

NOTABLE_S = 0.5


class At(Enum):
    """The grid that is written."""

    VOLUME = "volume"
    WORKING = "working"


def command(
    package: Annotated[str, typer.Argument(help="Package (.zip), or the word demo for the embedded one.")],
    volume: Annotated[
        str, typer.Argument(help="TIFF, folder of slices, OME-Zarr, Zarr, HDF5 (file.h5::path) or MRC.")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="NAME.ome.zarr, or NAME.tif (and NAME.probability.tif)."),
    ],
    voxel_nm: Annotated[
        str | None,
        typer.Option(metavar="Z,Y,X", help="Voxel size in nm, whatever the file says."),
    ] = None,
    at: Annotated[
        At, typer.Option(help="Write on the volume's own grid, or on the grid that the network works on.")
    ] = At.VOLUME,
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which a voxel is foreground [package's].")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Tiles computed side by side [one a core].")] = None,
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Largest edge of a tile [1024].")] = None,
    block: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Block of voxels read and written at once.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="Engine: auto (the fastest here), tensorrt, tensorrt_rtx, cuda, openvino or cpu."),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision: auto (the fastest), or one that the package holds, as fp32.")
    ] = "auto",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse, instead of falling back, where an engine fails its certificate."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output once the new one is complete.")
    ] = False,
    intensity: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Grey values that become the network's -1 and 1 [percentiles of a sample].",
        ),
    ] = None,
    check_seams: Annotated[
        bool, typer.Option("--check-seams", help="Compare voxels beside tile faces with a second look.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="VOLUME is a folder that fills: segment slices as they come.")
    ] = False,
    until: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --watch: finish after N slices [go on until Ctrl-C]."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(metavar="K", help="With --watch: number in the first slice's name [the smallest]."),
    ] = None,
    poll_s: Annotated[
        float | None, typer.Option("--poll-s", help="With --watch: seconds between two looks [0.5].")
    ] = None,
    settle_s: Annotated[
        float | None,
        typer.Option("--settle-s", help="With --watch: seconds without change that end a slice [2]."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Stream VOLUME through PACKAGE, in bounded memory, whatever its size.

    Writes the output, NAME.report.json and NAME.preview.png. A run that was stopped goes on with --resume and
    ends in the same bytes.
    """
    options = Options(
        package=package,
        volume=volume,
        output=output,
        voxel_nm=None if voxel_nm is None else parse_spacing("--voxel-nm", voxel_nm),
        grid=at.value,
        tile_px=tile,
        block=None if block is None else parse_triple("--block", block),
        workers=workers,
        threshold=threshold,
        engine=engine,
        precision=precision,
        strict=strict,
        resume=resume,
        overwrite=overwrite,
        check_seams=check_seams,
        intensity=None if intensity is None else parse_range("--intensity", intensity),
    )
    live = {"until": until, "first": first, "poll_s": poll_s, "settle_s": settle_s}
    if not watch:
        refuse_live(live)
    report = run_live(options, live) if watch else run_watched(options)
    if report is None:
        return
    if as_json:
        typer.echo(json.dumps(report_json(report), indent=2))
    else:
        for line in summary(options, report):
            typer.echo(line)


def run_live(options: Options, live: dict[str, int | float | None]) -> Report | None:
    """Segment a folder that fills, with a lag meter; `live` holds what was given of `LiveOptions`."""
    from dmn_runtime.live.layout import LiveOptions
    from dmn_runtime.live.meter import metering
    from dmn_runtime.live.run import watch_folder

    given: dict[str, Any] = {name: value for name, value in live.items() if value is not None}
    with metering() as watch, terminating():
        return watch_folder(options, LiveOptions(**given), watch)


def refuse_live(live: dict[str, int | float | None]) -> None:
    """Refuse what belongs to live mode where it was not asked for.

    Raises:
        UsageError: names the first option.
    """
    given = next((name for name, value in live.items() if value is not None), None)
    if given is not None:
        raise UsageError(f"--{given.replace('_', '-')} belongs to --watch: give that too, or leave it out")


def run_watched(options: Options) -> Report | None:
    """Run inference with progress on a terminal."""
    with watching() as watch, terminating():
        return infer(options, watch)


@contextmanager
def watching() -> Iterator[Watch]:
    """Offer a `Watch` that shows progress on stderr if that is a terminal, else none."""
    console, lock = Console(stderr=True), Lock()
    if not console.is_terminal:
        yield Watch(say=_say, begin=lambda _: None, advance=lambda _: None)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("segmenting"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, speed="")

        def begin(voxels: int) -> None:
            progress.reset(task, total=voxels, speed="")

        def advance(voxels: float) -> None:
            with lock:
                progress.update(task, advance=voxels, speed=_speed(progress.tasks[0].speed))

        def say(sentence: str) -> None:
            progress.console.print(sentence, markup=False, highlight=False)

        yield Watch(say=say, begin=begin, advance=advance)


def summary(options: Options, report: Report) -> list[str]:
    """Say in a few lines what a run did."""
    z, y, x = report.input.shape
    lines = [
        f"{report.input.name}: {z} x {y} x {x} voxels (zyx){_grids(report)} with {report.package.name}",
        f"engine: {report.engine}; {counted(report.workers, 'worker')}",
        f"chosen: {report.engine_reason}",
        f"foreground: {100 * report.foreground_share:.2f} % of the voxels at threshold {report.threshold:g}",
        f"speed: {report.voxels_per_s / 1e6:.2f} Mvoxel/s end to end, {report.wall_s:.1f} s"
        + _peak(report.peak_rss_bytes),
    ]
    if report.choose_s >= NOTABLE_S:
        lines.append(f"before that {report.choose_s:.1f} s to choose the engine")
    if report.gpu is not None:
        lines.append(f"on the GPU at once: {report.gpu.words()}")
    if report.seams is not None:
        lines.append(report.seams.sentence())
    written = (*final_paths(options.output), report_path(options.output), preview_path(options.output))
    lines.append(f"wrote {', '.join(map(str, written))}")
    return lines


def _grids(report: Report) -> str:
    if report.input.voxel_nm is None:
        return ""
    own = " x ".join(f"{nm:g}" for nm in report.input.voxel_nm)
    working = report.grids.working_voxel_nm
    return f" of {own} nm" + ("" if working is None else f", network at {working[1]:g} nm,")


def parse_triple(option: str, text: str) -> Triple:
    """Parse "Z,Y,X" into integers.

    Raises:
        UsageError: it is not three whole numbers.
    """
    try:
        z, y, x = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: wanted three whole numbers Z,Y,X, such as 8,1024,1024") from error
    return (z, y, x)


def parse_spacing(option: str, text: str) -> Spacing:
    """Parse "Z,Y,X" into positive lengths in nm.

    Raises:
        UsageError: it is not three positive numbers.
    """
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: wanted three lengths in nm Z,Y,X, such as 50,4.6,4.6") from error
    if not all(0 < length < float("inf") for length in (z, y, x)):
        raise UsageError(f"{option} {text}: wanted lengths in nm above 0")
    return (z, y, x)


def parse_range(option: str, text: str) -> tuple[float, float]:
    """Parse "LOW,HIGH" into two numbers.

    Raises:
        UsageError: it is not two numbers.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: wanted two numbers LOW,HIGH, such as 31,204") from error
    return low, high


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)  # stdout belongs to --json


def _speed(voxels_per_s: float | None) -> str:
    return "" if voxels_per_s is None else f"{voxels_per_s / 1e6:.2f} Mvoxel/s"


def _peak(peak_rss_bytes: int | None) -> str:
    return "" if peak_rss_bytes is None else f", peak memory {peak_rss_bytes / 2**20:.0f} MiB"
