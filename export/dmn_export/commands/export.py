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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing package.")] = False,
) -> None:
    """Turn a run into a certified package: one zip with network, contract and parity certificate."""
    from dmn_export.pipeline import Wishes, export_run
    from dmn_train.run import load_run

    wishes = Wishes(name, description, threshold, licence, test_input, overwrite)
    typer.echo(_summary(export_run(load_run(run), output, wishes)))


def _summary(package: Package) -> str:
    contract = package.contract
    return "\n".join(
        [
            f"{package.path}: {contract.name}, {package.path.stat().st_size / 1e6:.2f} MB, "
            f"sha256 {package.sha256[:12]}",
            f"  measured: stride {contract.stride_px} px, halo {contract.halo_px} px",
            f"  slices in: {contract.in_channels}, threshold {contract.threshold:g}",
            *(_certificate_line(name, entry.certificate) for name, entry in contract.precisions.items()),
            f"next: dmn infer {package.path} STACK.tif -o segmentation.ome.zarr",
        ]
    )


def _certificate_line(precision: str, certificate: Certificate) -> str:
    return (
        f"  {precision} on {certificate.tiles} tiles by {certificate.engine}: "
        f"max |dp| {certificate.max_dp:.1e} (allowed {certificate.tolerance_max_dp:g}), "
        f"mean |dp| {certificate.mean_dp:.1e}, "
        f"IoU change {certificate.iou_change:.1e} (allowed {certificate.tolerance_iou_change:g})"
    )
