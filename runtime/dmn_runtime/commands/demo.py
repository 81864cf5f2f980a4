"""`dmn demo`: the main job, end to end, on a made-up volume whose truth is known."""

from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import tifffile
import typer
from numpy.typing import NDArray

from dmn_runtime.commands.infer import run_watched, summary
from dmn_runtime.errors import OutputError, UsageError
from dmn_runtime.evaluation import Evaluation, evaluate
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.mask_file import open_mask
from dmn_runtime.package import DEMO_WORD
from dmn_runtime.phantom import REGIMES, Phantom, make_phantom
from dmn_runtime.phantom.regimes import find_regime
from dmn_runtime.setup import Options
from dmn_runtime.volume.open import open_volume
from dmn_runtime.whole_file import whole_file

MARK = "made-by-dmn-demo.txt"
SHAPE: Triple = (16, 576, 576)


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for what the demo makes.")] = Path(
        "demo"
    ),
    regime: Annotated[
        str, typer.Option(help=f"How the made-up microscope works: {', '.join(REGIMES)}.")
    ] = "fibsem",
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another volume.")] = 2026,
) -> None:
    """Make an EM-like volume, segment it with the embedded package and compare with the truth.

    Writes image.tif, truth.tif, segmentation.ome.zarr, its report and preview into the output folder.
    """
    begin_s = perf_counter()
    image, truth, segmentation = (
        output / name for name in ("image.tif", "truth.tif", "segmentation.ome.zarr")
    )
    find_regime(regime)
    _make_folder(output)
    phantom = make_phantom(SHAPE, seed=seed, regime=regime)
    _write_tiff(image, phantom.image, phantom.voxel_nm)
    _write_tiff(truth, phantom.mask, phantom.voxel_nm)
    typer.echo(f"made {image}: {_words(phantom)} ({perf_counter() - begin_s:.0f} s)")
    options = Options(package=DEMO_WORD, volume=str(image), output=segmentation, overwrite=True)
    report = run_watched(options)
    if report is None:
        raise UsageError(f"{segmentation} was not written: remove {output} and run again")
    for line in summary(options, report):
        typer.echo(line)
    typer.echo(_verdict(_compare(segmentation, truth)))
    typer.echo(_next_commands(segmentation))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir()) and not (path / MARK).is_file()
    except OSError as error:
        raise OutputError(
            f"the folder {path} cannot be made ({error.strerror}): choose another with -o"
        ) from error
    if taken:
        raise OutputError(f"the folder {path} holds files that no demo made: choose another with -o")
    with whole_file(path / MARK, "mark") as partial:
        partial.write_text("Made by dmn demo, which may replace what is in this folder.\n", encoding="utf-8")


def _write_tiff(path: Path, voxels: NDArray[np.uint8], voxel_nm: Spacing) -> None:
    metadata: dict[str, Any] = {"axes": "ZYX"}
    for axis, length in zip("ZYX", voxel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "nm"}
    with whole_file(path, "volume") as partial:
        tifffile.imwrite(
            partial, voxels, ome=True, metadata=metadata, compression="zlib", photometric="minisblack"
        )


def _compare(segmentation: Path, truth: Path) -> Evaluation:
    with open_volume(segmentation) as predicted, open_mask(truth, "mask") as mask:
        return evaluate(
            predicted,
            mask,
            valid=None,
            kind="probability",
            value_255="auto",
            threshold=0.5,
            objects=False,
            resamples=1000,
            seed=0,
        )


def _words(phantom: Phantom) -> str:
    z, y, x = phantom.image.shape
    return f"{z} x {y} x {x} voxels of {' x '.join(f'{v:g}' for v in phantom.voxel_nm)} nm, {phantom.regime}"


def _verdict(result: Evaluation) -> str:
    interval = result.volume_iou_interval
    spread = (
        "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f} over slices)"
    )
    return f"against the truth: fg IoU {result.volume.iou:.3f}{spread}, Dice {result.volume.dice:.3f}"


def _next_commands(segmentation: Path) -> str:
    return "\n".join(
        [
            "try next:",
            f"  dmn inspect {segmentation}",
            "  dmn infer demo YOUR_STACK.tif -o yours.ome.zarr --voxel-nm 50,4.6,4.6",
            "  dmn doctor",
        ]
    )
