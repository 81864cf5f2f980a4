"""`dmn build`: TensorRT engines for this GPU, or a package that carries engines for others."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dmn_runtime.errors import EngineError, UsageError

ENGINES = ("tensorrt_rtx", "tensorrt")


def command(
    package: Annotated[str, typer.Argument(help="Package (.zip), or the word demo for the embedded one.")],
    targets: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="LIST",
            help="GPUs to build for, comma between: rtx20, a100, rtx30, rtx40, rtx50; and linux or windows, "
            "else this system. Needs no GPU. This machine's GPU if not given.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="With --for: the package to write, engines included, NAME.zip."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Library: auto (what is installed), tensorrt_rtx or tensorrt.")
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Precisions, comma between [all of fp16, int8-trt, fp32 it holds]."
        ),
    ] = None,
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Largest edge of a tile [1024].")] = None,
    batch: Annotated[int | None, typer.Option(help="With --for: most slices in one call [8].")] = None,
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help="With --for: engines for any tile up to that size, not for one size."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing package.")] = False,
) -> None:
    """Build TensorRT engines ahead of time, so that the first run does not wait.

    Without --for: for the GPU of this machine, into the engine cache (dmn engines list), as dmn infer with
    the same --tile would. With --for: for GPUs elsewhere, into a copy of the package, which needs no GPU
    here (TensorRT for RTX). Every build runs in a process of its own.
    """
    from dmn_runtime.package import open_package, resolve_package
    from dmn_runtime.trt.package_build import Request, build_for_others, build_here

    for option, given in (("--tile", tile), ("--batch", batch)):
        if given is not None and given < 1:
            raise UsageError(f"{option} {given} makes no engine: give at least 1")
    engines = _installed() if engine == "auto" else (_known(engine),)
    request = Request(
        package=open_package(resolve_package(package)),
        engine=engines[0],
        precisions=None if precision is None else tuple(precision.split(",")),
        tile_px=tile,
        batch=batch,
        dynamic=dynamic,
    )
    if targets is None:
        if output is not None or batch is not None or dynamic:
            raise UsageError("-o, --batch and --dynamic are for engines for other GPUs: say which with --for")
        lines = [line for word in engines for line in build_here(replace(request, engine=word), _say)]
    else:
        if output is None:
            raise UsageError("--for builds into a copy of the package: name it with -o NAME.zip")
        lines = build_for_others(request, targets, output, _say, overwrite=overwrite)
    for line in lines:
        typer.echo(line)


def _known(word: str) -> str:
    if word not in ENGINES:
        raise UsageError(f"dmn build has no engine {word!r}: --engine takes auto, {', '.join(ENGINES)}")
    return word


def _installed() -> tuple[str, ...]:
    """Return the libraries that are installed, that for RTX cards first."""
    from dmn_runtime.extras import is_present

    found = tuple(word for word in ENGINES if is_present(word))
    if found:
        return found
    raise EngineError(
        "no TensorRT is installed: pip install 'dmn-em[tensorrt-rtx,gpu]' for RTX cards, or "
        "'dmn-em[tensorrt,gpu]' for data-centre GPUs"
    )


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
