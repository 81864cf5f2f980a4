"""`dmn bench`: how fast a package runs here, and what the machine could do."""

from pathlib import Path
from typing import Annotated

import typer

from dmn_runtime.errors import OutputError


def command(
    package: Annotated[str, typer.Argument(help="Package (.zip), or the word demo for the embedded one.")],
    volume: Annotated[
        str | None, typer.Argument(help="A volume to measure on [a phantom].", show_default=False)
    ] = None,
    voxel_nm: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in nm, whatever the file says.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine: auto (the fastest here), or one.")] = "auto",
    precision: Annotated[str, typer.Option(help="Precision: auto (the fastest), or one.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Tiles computed side by side [one a core].")] = None,
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Largest edge of a tile [1024].")] = None,
    block: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Block of voxels read and written at once.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How often all is measured, in turns [3].")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One round, on a small phantom: a first impression.")
    ] = False,
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write all rounds and figures there.", show_default=False
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="OLD.json", help="Compare with an earlier bench.", show_default=False),
    ] = None,
) -> None:
    """Measure a package on this machine: network only, kernels only and end to end, in turns.

    Beside them the machine's ceilings, measured in the same rounds: a large copy and a large matrix product.
    The volume, if none is given, and the output are written to the folder for temporary files (TMPDIR) and
    removed. Let the machine rest meanwhile.
    """
    from dmn_runtime.bench.compare import compare_text
    from dmn_runtime.bench.measure import BenchOptions, run_bench
    from dmn_runtime.bench.result import read_bench, write_bench
    from dmn_runtime.bench.text import bench_text
    from dmn_runtime.commands.infer import parse_spacing, parse_triple
    from dmn_runtime.terminating import terminating

    if json_path is not None:
        _check_place(json_path)
    old = None if compare is None else read_bench(compare)
    options = BenchOptions(
        package=package,
        volume=volume,
        voxel_nm=None if voxel_nm is None else parse_spacing("--voxel-nm", voxel_nm),
        engine=engine,
        precision=precision,
        workers=workers,
        tile_px=tile,
        block=None if block is None else parse_triple("--block", block),
        rounds=rounds,
        quick=quick,
    )
    with terminating():
        bench = run_bench(options, _say)
    if json_path is not None:
        write_bench(json_path, bench)
    lines = bench_text(bench)
    if old is not None:
        lines += ["", *compare_text(bench, old, str(compare))]
    typer.echo("\n".join(lines))


def _check_place(path: Path) -> None:
    """Refuse a file that cannot be written before minutes are spent on what it is to hold."""
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"--json {path} is a folder or lies in none: name a file in a folder that exists")


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
