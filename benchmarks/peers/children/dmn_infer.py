"""DMN, complete: `dmn infer` from a TIFF to a finished OME-Zarr with pyramid, mask, report and preview.

Its seconds are the report's `wall_s`, which counts reading, decoding, resampling, writing and all: more than
the peers do.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main

from dmn_runtime.inference import Watch, infer
from dmn_runtime.report import Report
from dmn_runtime.setup import Options
from dmn_runtime.volume.open import open_volume

SILENT = Watch(say=lambda _: None, begin=lambda _: None, advance=lambda _: None)


def prepare(job: Job) -> Maker:
    """Load nothing: `dmn infer` does."""
    return partial(make, job)


def make(job: Job, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `engine`, `precision`; `tile_px` and `check_seams` for the seam score alone."""
    reports: list[Report] = []

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        with tempfile.TemporaryDirectory() as folder:
            report, probability = inferred(job, settings, volume, Path(folder))
        reports.append(report)
        return Segmented(probability, report.wall_s, facts_of(report))

    return Ready(segment, lambda: computed_px(reports[-1]))


def inferred(
    job: Job, settings: dict[str, Any], volume: NDArray[np.uint8], folder: Path
) -> tuple[Report, NDArray[np.uint8]]:
    """Write the volume as TIFF, run `dmn infer` on it, and read the probability back; only the run counts."""
    stack, output = folder / "stack.tif", folder / "seg.ome.zarr"
    # Compressed as microscopes' volumes are stored: decoding is part of the work.
    tifffile.imwrite(stack, volume, compression="zlib", predictor=True, photometric="minisblack")
    options = Options(
        package=job["package"],
        volume=str(stack),
        output=output,
        voxel_nm=tuple(job["voxel_nm"]),
        workers=job["cores"],
        engine=settings["engine"],
        precision=settings["precision"],
        tile_px=settings.get("tile_px"),
        check_seams=settings.get("check_seams", False),
    )
    report = infer(options, SILENT)
    assert report is not None
    with open_volume(output) as written:
        return report, written.read(whole(written.shape)).astype(np.uint8, copy=False)


def whole(shape: tuple[int, int, int]) -> Any:
    """Return the region of a whole volume."""
    from dmn_runtime.geometry import Region

    return Region((0, 0, 0), shape)


def facts_of(report: Report) -> dict[str, Any]:
    """Return what the page says of a run, beside its speed."""
    facts: dict[str, Any] = {
        "engine": report.engine,
        "precision": report.precision,
        "choose_s": report.choose_s,
        "first_tile_s": report.first_tile_s,
        "low_high": [report.normalisation.low, report.normalisation.high],
    }
    if report.seams is not None:
        facts["seams_max_grey"] = report.seams.faces.max_grey if report.seams.faces.voxels else None
    return facts


def computed_px(report: Report) -> int:
    """Return the pixels that go into the network for a slice, from the report's plan."""
    from dmn_runtime.plan import Footprint, make_plan

    _, height, width = report.grids.working_shape
    plan = report.plan
    laid = make_plan(
        (1, height, width),
        (1.0, 1.0, 1.0),
        None,
        Footprint(plan.stride_px, plan.halo_px, 0),
        tile_px=plan.tile[1],
        block=(1, plan.block[1], plan.block[2]),
    )
    tiles = (tile for block in laid.blocks() for tile in block.tiles)
    return sum(tile.read(laid.footprint).size for tile in tiles)


if __name__ == "__main__":
    main(prepare)
