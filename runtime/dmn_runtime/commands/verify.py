"""`dmn verify`: is it still the same segmentation, here?"""

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from dmn_runtime.engines.examination import Wish
from dmn_runtime.engines.trial import Trial, fastest
from dmn_runtime.engines.verify import Verification, verify, with_stack
from dmn_runtime.errors import EXIT_USER_ERROR, UsageError
from dmn_runtime.machine import logical_cores
from dmn_runtime.package import Package, open_package, resolve_package

_HEADER = ("engine", "precision", "max |dp|", "IoU change", "allowed", "objects", "Mvoxel/s", "verdict")


def command(
    package: Annotated[str, typer.Argument(help="Package (.zip), or the word demo for the embedded one.")],
    stack: Annotated[
        str | None,
        typer.Argument(help="A volume of your own to examine the engines on, too.", show_default=False),
    ] = None,
    voxel_nm: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size of your volume in nm.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine: auto (all that can run here), or one.")] = "auto",
    precision: Annotated[str, typer.Option(help="Precision: auto (all), or one.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Tiles computed side by side [one a core].")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a PNG of the worst tile of every engine that fails.", show_default=False
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 2 if any engine fails, not only if all do.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Examine a package's engines on this machine: do they still give the trained network's segmentation?

    Runs the package's golden tiles, for which it holds the trained network's answers, through every engine
    and precision that can run here, and times them. dmn infer does the same by itself the first time, and
    again when driver, GPU or a library has changed. A volume of your own is compared with onnxruntime on the
    processor in fp32, once that has passed.
    """
    count = logical_cores() if workers is None else workers
    if count < 1:
        raise UsageError(f"--workers {count} cannot work: give at least 1")
    if voxel_nm is not None and stack is None:
        raise UsageError(
            f"--voxel-nm {voxel_nm} is for a volume of your own, and none is given: add its path, "
            "or leave it out"
        )
    wish = Wish(engine, precision, count)
    opened = open_package(resolve_package(package))
    found = _verified(opened, wish, stack, voxel_nm)
    if pictures is not None:
        _draw(opened, wish, found, pictures)
    typer.echo(
        json.dumps(_plain(_document(found)), allow_nan=False)
        if as_json
        else "\n".join(_lines(package, found, narrowed=(engine, precision) != ("auto", "auto")))
    )
    judged = with_stack(found.golden, found.stack)
    if fastest(judged) is None or (strict and any(trial.fault is not None for trial in judged)):
        raise typer.Exit(EXIT_USER_ERROR)


def _verified(package: Package, wish: Wish, stack: str | None, voxel_nm: str | None) -> Verification:
    from dmn_runtime.commands.infer import parse_spacing
    from dmn_runtime.setup import known_voxel_nm
    from dmn_runtime.volume.open import open_volume

    if stack is None:
        return verify(package, wish, _say)
    given = None if voxel_nm is None else parse_spacing("--voxel-nm", voxel_nm)
    with open_volume(stack, voxel_nm=given) as volume:
        return verify(package, wish, _say, (volume, known_voxel_nm(volume, package.contract)))


def _draw(package: Package, wish: Wish, found: Verification, folder: Path) -> None:
    from dmn_runtime.certificate.golden import read_golden
    from dmn_runtime.engines.worst import draw_worst

    examined = [("golden", trial, read_golden(package)) for trial in found.golden]
    if found.own is not None:
        examined += [("volume", trial, found.own) for trial in found.stack]
    for where, trial, tiles in examined:
        if trial.fault is not None and trial.parity is not None:
            path = folder / f"worst-{trial.candidate.engine}-{trial.candidate.precision}-{where}.png"
            draw_worst(package, trial, tiles, wish, path, _say)
            _say(f"{path} shows the worst tile of {trial.candidate}")


def _lines(word: str, found: Verification, *, narrowed: bool) -> list[str]:
    lines = ["on the package's golden tiles, against the trained network:", *_table(found.golden)]
    if found.stack:
        lines += ["", "on your volume, against cpu fp32:", *_table(found.stack)]
    lines += ["", *(f"not here: {engine}: {why}" for engine, why in found.absent.items())]
    judged = with_stack(found.golden, found.stack)
    best = fastest(judged)
    faulty = [str(trial.candidate) for trial in judged if trial.fault is not None]
    if narrowed:
        passed = ", ".join(str(trial.candidate) for trial in judged if trial.fault is None) or "none"
        lines.append(f"verdict on what was asked for: passed: {passed}" + _failed(faulty))
    elif best is None:
        lines.append(
            f"verdict: no engine here gives the segmentation of {word}: do not use it on this machine"
        )
    else:
        lines.append(f"verdict: dmn infer runs {best.candidate}" + _but(faulty))
    return lines


def _but(faulty: list[str]) -> str:
    return _failed(faulty) or "; every engine here gives the same segmentation"


def _failed(faulty: list[str]) -> str:
    return f"; FAILED: {', '.join(faulty)}" if faulty else ""


def _table(trials: tuple[Trial, ...]) -> list[str]:
    rows = [_HEADER, *(_row(trial) for trial in trials)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER) - 1)]
    return [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def _row(trial: Trial) -> tuple[str, ...]:
    parity, speed = trial.parity, trial.voxels_per_s
    verdict = "passed" if trial.fault is None else f"FAILED: {trial.fault}"
    return (
        trial.candidate.engine,
        trial.candidate.precision,
        "-" if parity is None else f"{parity.max_dp:.1e}",
        "-" if parity is None else f"{parity.iou_change:.1e}",
        f"{trial.tolerance.iou_change:g}",
        "-" if parity is None or parity.objects is None else f"{parity.objects_matched} of {parity.objects}",
        "-" if speed is None else f"{speed / 1e6:.2f}",
        verdict,
    )


def _document(found: Verification) -> dict[str, Any]:
    best = fastest(with_stack(found.golden, found.stack))
    return {
        "runs": None if best is None else asdict(best.candidate),
        "golden": [asdict(trial) for trial in found.golden],
        "stack": [asdict(trial) for trial in found.stack],
        "absent": found.absent,
    }


def _plain(value: Any) -> Any:
    """Return a value in JSON's own words: null for what is no number, which an engine may well give."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
