"""`dmn adapt`: from a labelled volume and somebody else's unlabelled one to a certified package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dmn_runtime.errors import UsageError

if TYPE_CHECKING:
    from dmn_export.adapt.execute import Adapted


def command(
    source: Annotated[
        str,
        typer.Option(
            help="The labelled volume: a folder with an image and its mask, or IMAGE::MASK.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option(help="The unlabelled volume to adapt to.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Package to write, NAME.zip.", show_default=False)
    ],
    source_voxel_nm: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size of the source in nm [the file's].")
    ] = None,
    target_voxel_nm: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size of the target in nm [the file's].")
    ] = None,
    student: Annotated[
        Literal["s8", "s16", "s32"] | None, typer.Option(help="Size of the network in the package [s16].")
    ] = None,
    budget: Annotated[
        Literal["quick", "standard", "thorough"], typer.Option(help="How long to train.")
    ] = "standard",
    init: Annotated[
        Path | None,
        typer.Option(help="A finished run on the source to begin from, instead of training one."),
    ] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="What the mask's foreground is [mitochondrion].")
    ] = None,
    phantoms: Annotated[
        bool | None,
        typer.Option(
            "--phantoms/--no-phantoms",
            help="Learn from made-up volumes with mitochondria too [where these are the class].",
        ),
    ] = None,
    target_slices: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST,STOP",
            help="Slices of the target that are read, STOP not [all; of a large one some, spread over it].",
        ),
    ] = None,
    most_foreground: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Most of the target that can be foreground: 0.08, 1.5x (times the source's share) or none "
            "[1.5x].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    work: Annotated[
        Path | None, typer.Option(help="Folder of the runs, kept [NAME.adapt beside the package].")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="In place of a key of the recipe of every stage that can have it; may be repeated.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it stopped; finished stages are kept.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Begin anew: drop former runs, replace the package; with --resume the package alone.",
        ),
    ] = False,
) -> None:
    """Adapt a network to an unlabelled volume and pack it: train, adapt, teach a student, certify, judge.

    No label of the target is read. Says first how long it will take, and at the end, as well as that can be
    said without labels, how good the result is.
    """
    from dmn_export.adapt.defaults import MOST_FOREGROUND
    from dmn_export.adapt.execute import adapt
    from dmn_export.adapt.wishes import AdaptWishes
    from dmn_export.adapt.work import is_begun
    from dmn_runtime.commands.infer import parse_spacing
    from dmn_runtime.terminating import terminating
    from dmn_train.commands.told import train_and_tell

    wishes = AdaptWishes(
        source,
        target,
        None if source_voxel_nm is None else parse_spacing("--source-voxel-nm", source_voxel_nm),
        None if target_voxel_nm is None else parse_spacing("--target-voxel-nm", target_voxel_nm),
        student,
        budget,
        init,
        seed,
        tuple(set_ or []),
        class_,
        phantoms,
        None if target_slices is None else _slices(target_slices),
        MOST_FOREGROUND if most_foreground is None else _bound(most_foreground),
    )
    runs = work or output.with_suffix(".adapt")
    begun: list[bool] = []
    try:
        with terminating():
            adapted = adapt(
                wishes,
                output,
                runs,
                resume=resume,
                overwrite=overwrite,
                say=_say,
                begun=lambda: begun.append(True),
                train_stage=lambda placed, folder, on: train_and_tell(
                    placed, folder, resume=on, overwrite=False
                ),
            )
    except KeyboardInterrupt:
        former = is_begun(runs)
        _say(_stopped(runs, former=former, goes_on=former and (bool(begun) or resume)))
        raise
    typer.echo(_summary(adapted, target, target_voxel_nm))


def _stopped(runs: Path, *, former: bool, goes_on: bool) -> str:
    """Return one sentence on what a stop has left.

    Args:
        runs: the work folder.
        former: whether it holds an adaptation.
        goes_on: whether that is the one that was stopped.
    """
    if goes_on:
        return "stopped; nothing that was learned is lost: the same command with --resume goes on from here"
    kept = f"; the former adaptation in {runs} is as it was" if former else ""
    return f"stopped before anything was learned or written: the same command begins again{kept}"


def _slices(text: str) -> tuple[int, int]:
    """Parse "FIRST,STOP"; refuse what is no range."""
    first, comma, stop = text.partition(",")
    if not (comma and first.isdecimal() and stop.isdecimal() and int(first) < int(stop)):
        raise UsageError(
            f"--target-slices {text}: wanted FIRST,STOP counted from 0, STOP not taken, as 40,80"
        )
    return int(first), int(stop)


def _bound(text: str) -> float | str | None:
    """Parse a share of all voxels, times the source's, or none; refuse what is none of these."""
    from dmn_export.adapt.bound import parse_bound
    from dmn_train.foreground_bound import checked_bound

    bound = parse_bound(text)
    try:
        return None if bound is None else checked_bound(bound)
    except ValueError as error:
        raise UsageError(
            f"--most-foreground {text}: wanted a share above 0 and below 1 (8 % of the voxels are 0.08), "
            "times the source's, as 1.5x, or none"
        ) from error


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _summary(adapted: "Adapted", target: str, voxel_nm: str | None) -> str:
    from dmn_export.adapt.quality_report import quality_lines

    package = adapted.package
    contract = package.contract
    return "\n".join(
        [
            f"{package.path}: {contract.name}, {package.path.stat().st_size / 1e6:.2f} MB, certified in "
            f"{', '.join(contract.precisions)}",
            *(f"  left out: {sentence}" for sentence in adapted.refused),
            *quality_lines(adapted.findings, adapted.alarms),
            f"{adapted.quality}: the same as a file",
            f"next: dmn infer {package.path} {target} -o segmentation.ome.zarr"
            + ("" if voxel_nm is None else f" --voxel-nm {voxel_nm}"),
        ]
    )
