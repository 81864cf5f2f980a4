"""From a finished run to a certified package: measure, export, compare, describe, write."""

import io
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from numpy.typing import NDArray

from dmn_export.bioimageio_model import (
    COVER_MEMBER,
    README_MEMBER,
    WEIGHTS_MEMBER,
    build_members,
    describe,
)
from dmn_export.certify import FP32_TOLERANCE, certify, probability, run_torch
from dmn_export.onnx_export import export_onnx
from dmn_export.package_writer import check_output, write_package
from dmn_export.readme import write_readme
from dmn_export.receptive import Reach, measure_reach
from dmn_export.test_tensors import (
    cover_png,
    grey_from_tile,
    make_test_tensors,
    most_foreground,
    phantom_image,
)
from dmn_runtime._version import __version__
from dmn_runtime.contract import Certificate, Contract, Precision
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import round_up
from dmn_runtime.package import Package
from dmn_runtime.selftest import TEST_INPUT_MEMBER, TEST_OUTPUT_MEMBER
from dmn_train.run import RUN_JSON, Run, parity_tiles

PARITY_TILES = 8
TILE_PX = 256


@dataclass(frozen=True)
class Wishes:
    """What the user may say about a package beyond what the run knows; None takes the run's.

    `test_input`: "source" puts a tile of the training data into the package, "phantom" a made-up one.
    """

    name: str | None = None
    description: str | None = None
    threshold: float | None = None
    licence: str | None = None
    test_input: Literal["source", "phantom"] = "source"
    overwrite: bool = False


def export_run(run: Run, output: Path, wishes: Wishes) -> Package:
    """Export a run's network, certify it on the run's own tiles and write it as a package.

    Raises:
        UsageError, OutputError: a wish or the output makes no sense.
        RunError: the run's weights or data are gone.
        CertificateError: the exported network does not segment as the trained one.
        PackageError: bioimage.io or the contract refuses the result.
    """
    threshold = run.threshold if wishes.threshold is None else wishes.threshold
    if not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold is {threshold:g}, wanted a number between 0 and 1, both excluded")
    check_output(output, wishes.overwrite)
    network = run.network()
    reach = measure_reach(network, run.spec.in_channels)
    edge_px = round_up(max(TILE_PX, 2 * reach.halo_px + reach.stride_px), reach.stride_px)
    tiles = parity_tiles(run, PARITY_TILES, edge_px)
    onnx_file = export_onnx(network, run.spec.in_channels, reach.stride_px)
    certificate = certify(network, onnx_file, tiles, threshold, FP32_TOLERANCE)
    contract = _contract(run, wishes, threshold, reach, certificate)
    image = _test_image(run, wishes, tiles, probability(run_torch(network, tiles)))
    return write_package(output, contract, _members(contract, run, wishes, onnx_file, image))


def _contract(run: Run, wishes: Wishes, threshold: float, reach: Reach, certificate: Certificate) -> Contract:
    name = wishes.name or run.name
    return Contract(
        name=name,
        description=wishes.description or run.description or f"{name}, trained with {run.method}",
        classes=(run.class_name,),
        in_channels=run.spec.in_channels,
        context_slices=run.spec.context_slices,
        stride_px=reach.stride_px,
        halo_px=reach.halo_px,
        voxel_nm=run.voxel_nm,
        working_voxel_nm=run.working_voxel_nm,
        normalisation=run.normalisation,
        threshold=threshold,
        precisions={REFERENCE_PRECISION: Precision(WEIGHTS_MEMBER, certificate)},
        domain=run.domain,
        provenance=_provenance(run),
    )


def _test_image(
    run: Run, wishes: Wishes, tiles: NDArray[np.float32], tiles_probability: NDArray[np.float64]
) -> NDArray[np.uint8]:
    if wishes.test_input == "source":
        return grey_from_tile(tiles[most_foreground(tiles_probability)], run.normalisation)
    pixel_nm = run.working_voxel_nm or run.voxel_nm[1]
    return phantom_image(run.spec.in_channels, tiles.shape[-1], pixel_nm)


def _members(
    contract: Contract, run: Run, wishes: Wishes, onnx_file: bytes, image: NDArray[np.uint8]
) -> dict[str, bytes]:
    tensors = make_test_tensors(onnx_file, image, contract.normalisation)
    members = {
        COVER_MEMBER: cover_png(tensors),
        README_MEMBER: write_readme(contract, wishes.test_input).encode("utf-8"),
        TEST_INPUT_MEMBER: _npy(tensors.image),
        TEST_OUTPUT_MEMBER: _npy(tensors.output),
        WEIGHTS_MEMBER: onnx_file,
    }
    description = describe(
        contract,
        licence=wishes.licence,
        timestamp=_finished(run),
        test_output_peak=float(tensors.output.max()),
    )
    return build_members(description, members)


def _finished(run: Run) -> datetime:
    # The file's time instead of now: exporting a run twice gives the same bytes.
    return datetime.fromtimestamp(int((run.folder / RUN_JSON).stat().st_mtime), UTC)


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _provenance(run: Run) -> dict[str, Any]:
    """Return what the run says of itself and what exported it, without the folders of this machine."""
    told_elsewhere = {"format", "format_version", "recipe_folder", "domain", "normalisation", "threshold"}
    facts = {key: value for key, value in run.facts.items() if key not in told_elsewhere}
    return {
        "run": without_folders(facts),
        "export": {
            "dmn": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }


_PATH_KEYS = {"image", "mask", "valid", "path", "run"}
_ROOTED = re.compile(r"/|\\\\|[A-Za-z]:[\\/]")


def without_folders(value: Any, key: str = "") -> Any:
    """Return a JSON value in which every path has lost its folders: a package tells no machine's layout."""
    if isinstance(value, dict):
        return {k: without_folders(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [without_folders(v, key) for v in value]
    if isinstance(value, str) and (key in _PATH_KEYS or _ROOTED.match(value)):
        file, separator, dataset = value.partition("::")
        return re.split(r"[\\/]", file.rstrip("\\/"))[-1] + separator + dataset
    return value
