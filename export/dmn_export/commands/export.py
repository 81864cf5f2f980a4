"""dmn export: turn a run into a certified package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dmn_runtime.contract import Contract
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.errors import UsageError
from dmn_runtime.package import Package
from dmn_runtime.words import counted

if TYPE_CHECKING:
    from dmn_export.airgap.plan import AirGapWishes
    from dmn_export.pipeline import Wishes
    from dmn_train.run import Run


_HEADER = ("precision", "run by", "max |dp|", "IoU change", "allowed", "objects", "Mvoxel/s", "x fp32")


def command(
    run: Annotated[Path, typer.Argument(help="Run folder, as dmn train leaves it.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Package to write, NAME.zip; with --air-gapped a folder.",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name for people; the recipe's if not given.")] = None,
    description: Annotated[str | None, typer.Option(help="One sentence; the recipe's if not given.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability from which a voxel is foreground; the run's if not given."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the weights (SPDX, as CC-BY-4.0); none if not given."),
    ] = None,
    test_input: Annotated[
        Literal["source", "phantom"],
        typer.Option(help="Test image in the package: a tile of the training data, or a made-up one."),
    ] = "source",
    precision: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Precisions to try, comma between [fp32,fp16,bf16,int8,int8-trt]."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if any precision is refused.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands at -o.")] = False,
    air_gapped: Annotated[
        bool,
        typer.Option(
            "--air-gapped", help="Write a folder for a PC without network: package, wheels, install scripts."
        ),
    ] = False,
    targets: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="LIST",
            help="With --air-gapped: GPUs to build engines for: rtx20, a100, rtx30, rtx40, rtx50.",
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="With --air-gapped: systems of the PCs [linux,windows]."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="With --air-gapped: Pythons of the PCs, as 3.11,3.12 [this one's]."
        ),
    ] = None,
    with_: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="LIST",
            help="With --air-gapped: what the PCs can do beside the plain: codecs, hdf5, mrc, objects.",
        ),
    ] = None,
    own_wheel: Annotated[
        Path | None,
        typer.Option(help="With --air-gapped: a wheel of dmn-em, instead of making one.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --air-gapped: say what would be done, and stop.")
    ] = False,
) -> None:
    """Turn a run into a certified package: one zip with the network, in every precision that is sound.

    Each precision is compared with the trained network on tiles of the run's own data and timed here. One
    that gives another segmentation, or is not worth its loss, is left out; a PNG shows its worst tile.
    """
    from dmn_export.pipeline import PRECISIONS, Wishes, export_run
    from dmn_train.run import load_run

    precisions = PRECISIONS if precision is None else tuple(precision.split(","))
    wishes = Wishes(name, description, threshold, licence, test_input, precisions, strict, overwrite)
    if not air_gapped:
        if dry_run or any(word is not None for word in (targets, platform, python, with_, own_wheel)):
            raise UsageError(
                "--for, --platform, --python, --with, --own-wheel and --dry-run belong to --air-gapped: "
                "add it"
            )
        exported = export_run(load_run(run), output, wishes, _say)
        typer.echo(_summary(exported.package, exported.refused))
        return
    _export_air_gapped(
        load_run(run),
        output,
        wishes,
        _air_gap(platform, python, targets, with_, own_wheel, overwrite),
        dry_run=dry_run,
    )


def _air_gap(
    platform: str | None,
    python: str | None,
    targets: str | None,
    with_: str | None,
    own_wheel: Path | None,
    overwrite: bool,
) -> "AirGapWishes":
    from dmn_export.airgap.here import look_here
    from dmn_export.airgap.plan import AirGapWishes
    from dmn_export.airgap.target import PLATFORM_TAGS

    return AirGapWishes(
        here=look_here(),
        platforms=tuple(PLATFORM_TAGS) if platform is None else tuple(platform.split(",")),
        pythons=() if python is None else tuple(python.split(",")),
        gpu_families=() if targets is None else tuple(targets.split(",")),
        more_extras=() if with_ is None else tuple(with_.split(",")),
        own_wheel=own_wheel,
        overwrite=overwrite,
    )


def _export_air_gapped(
    run: "Run", folder: Path, wishes: "Wishes", air_gap: "AirGapWishes", *, dry_run: bool
) -> None:
    from dmn_export.airgap.from_run import export_air_gapped
    from dmn_export.airgap.plan import describe_plan, plan_folder

    if dry_run:
        typer.echo(describe_plan(plan_folder(air_gap), folder, f"{folder.name}.zip"))
        return
    exported = export_air_gapped(run, folder, wishes, air_gap, _say)
    typer.echo(_summary(exported.package, exported.refused))
    typer.echo(f"{folder}: bring it to the PC whole and follow its README.md")


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _summary(package: Package, refused: tuple[str, ...]) -> str:
    contract = package.contract
    rows = [_HEADER, *_rows(contract)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    tiles = contract.precisions[REFERENCE_PRECISION].certificates[0].tiles
    return "\n".join(
        [
            f"{package.path}: {contract.name}, {package.path.stat().st_size / 1e6:.2f} MB, "
            f"sha256 {package.sha256[:12]}",
            f"  measured: stride {contract.stride_px} px, halo {contract.halo_px} px; slices in: "
            f"{contract.in_channels}, threshold {contract.threshold:g}",
            f"  certified on {counted(tiles, 'tile')}:",
            *(
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                for row in rows
            ),
            *(f"  left out: {sentence}" for sentence in refused),
            f"next: dmn infer {package.path} STACK.tif -o segmentation.ome.zarr",
        ]
    )


def _rows(contract: Contract) -> list[tuple[str, ...]]:
    return [
        (
            name,
            one.library,
            f"{one.max_dp:.1e}",
            f"{one.iou_change:.4f}",
            f"{one.tolerance_iou_change:g}",
            "-" if one.objects is None else f"{one.objects_matched} of {one.objects}",
            "-" if one.voxels_per_s is None else f"{one.voxels_per_s / 1e6:.2f}",
            "-" if one.speedup is None else f"{one.speedup:.1f}",
        )
        for name, entry in contract.precisions.items()
        for one in entry.certificates
    ]
