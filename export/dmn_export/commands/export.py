"""dmn export: turn a run into a certified package."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dmn_runtime.contract import Certificate
from dmn_runtime.package import Package


def command(
    run: Annotated[Path, typer.Argument(help="Run folder, as dmn train leaves it.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Package to write, NAME.zip.", show_default=False)
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing package.")] = False,
) -> None:
    """Turn a run into a certified package: one zip with the network, in every precision that is sound.

    Each precision is compared with the trained network on tiles of the run's own data and timed here. One
    that gives another segmentation, or is not worth its loss, is left out; a PNG shows its worst tile.
    """
    from dmn_export.pipeline import PRECISIONS, Wishes, export_run
    from dmn_train.run import load_run

    precisions = PRECISIONS if precision is None else tuple(precision.split(","))
    wishes = Wishes(name, description, threshold, licence, test_input, precisions, strict, overwrite)
    exported = export_run(load_run(run), output, wishes, _say)
    typer.echo(_summary(exported.package, exported.refused))


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _summary(package: Package, refused: tuple[str, ...]) -> str:
    contract = package.contract
    return "\n".join(
        [
            f"{package.path}: {contract.name}, {package.path.stat().st_size / 1e6:.2f} MB, "
            f"sha256 {package.sha256[:12]}",
            f"  measured: stride {contract.stride_px} px, halo {contract.halo_px} px",
            f"  slices in: {contract.in_channels}, threshold {contract.threshold:g}",
            *(
                _certificate_line(name, certificate)
                for name, entry in contract.precisions.items()
                for certificate in entry.certificates
            ),
            *(f"  left out: {sentence}" for sentence in refused),
            f"next: dmn infer {package.path} STACK.tif -o segmentation.ome.zarr",
        ]
    )


def _certificate_line(precision: str, certificate: Certificate) -> str:
    return (
        f"  {precision:<9}{certificate.library}, {certificate.tiles} tiles: "
        f"max |dp| {certificate.max_dp:.1e} ({certificate.tolerance_max_dp:g} allowed), "
        f"IoU change {certificate.iou_change:.1e} ({certificate.tolerance_iou_change:g} allowed)"
        + _speed(certificate)
    )


def _speed(certificate: Certificate) -> str:
    if certificate.voxels_per_s is None:
        return ""
    ratio = "" if certificate.speedup is None else f", {certificate.speedup:.1f} times fp32"
    return f", {certificate.voxels_per_s / 1e6:.2f} Mvoxel/s{ratio}"
