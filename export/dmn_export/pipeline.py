"""From a finished run to a certified package: measure, export, compare, describe, write."""

import io
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from dmn_export.certify import Answers, Refusal, Timer, Verdicts, answers_of, certify
from dmn_export.cost import Cost, network_cost
from dmn_export.fit import Quantise, fitted
from dmn_export.onnx_export import export_onnx
from dmn_export.package_writer import write_package
from dmn_export.precision import Tiles, to_fp16, to_int8, to_int8_trt
from dmn_export.readme import write_readme
from dmn_export.receptive import Reach, measure_reach
from dmn_export.test_tensors import (
    cover_png,
    grey_from_tiles,
    make_test_tensors,
    most_foreground,
    phantom_image,
)
from dmn_runtime._version import __version__
from dmn_runtime.archive import check_output
from dmn_runtime.certificate.golden import golden_members, golden_table
from dmn_runtime.certificate.tolerance import TOLERANCES
from dmn_runtime.certificate.worst_tile import core_of, write_worst_tile
from dmn_runtime.contract import Contract, Normalisation, Precision
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.trial import timed
from dmn_runtime.errors import CertificateError, UsageError
from dmn_runtime.geometry import round_up
from dmn_runtime.normalise import fit_map
from dmn_runtime.package import Package
from dmn_runtime.selftest import TEST_INPUT_MEMBER, TEST_OUTPUT_MEMBER
from dmn_train.real_tiles import real_tiles
from dmn_train.run import RUN_JSON, Run

GOLDEN_TILES = 8
CALIBRATION_TILES = 16
TILE_PX = 256

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-trt")
"""All that a package may hold, in the order in which they are made and told."""

_MEMBERS = {
    "fp32": WEIGHTS_MEMBER,
    "fp16": "weights-fp16.onnx",
    "bf16": WEIGHTS_MEMBER,
    "int8": "weights-int8.onnx",
    "int8-trt": "weights-int8-trt.onnx",
}


@dataclass(frozen=True)
class Wishes:
    """What the user may say about a package beyond what the run knows; None takes the run's.

    Attributes:
        name: for people.
        description: one sentence.
        threshold: probability from which a voxel is foreground.
        licence: of the weights, SPDX.
        test_input: "source" puts tiles of the training data into the package, "phantom" made-up ones.
        precisions: what to try, of `PRECISIONS`.
        strict: refuse the package where one of them is refused.
        overwrite: replace an existing package.
    """

    name: str | None = None
    description: str | None = None
    threshold: float | None = None
    licence: str | None = None
    test_input: Literal["source", "phantom"] = "source"
    precisions: tuple[str, ...] = PRECISIONS
    strict: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """A package that was written, and a sentence for each precision and engine that was refused."""

    package: Package
    refused: tuple[str, ...]


def export_run(
    run: Run,
    output: Path,
    wishes: Wishes,
    say: Callable[[str], None] = lambda _: None,
    timer: Timer = timed,
    pictures: Path | None = None,
) -> Exported:
    """Export a run's network, certify its precisions on the run's own tiles and write them as a package.

    Args:
        run: finished.
        output: the package, NAME.zip.
        wishes: what the user says of it.
        say: takes sentences for people.
        timer: times runners on one tile with a number of workers.
        pictures: what the names of pictures of worst tiles begin with; None is the package's name.

    Raises:
        UsageError, OutputError: a wish or the output makes no sense.
        RunError: the run's weights or data are gone.
        CertificateError: the exported network does not segment as the trained one.
        PackageError: bioimage.io or the contract refuses the result.
    """
    threshold = run.threshold if wishes.threshold is None else wishes.threshold
    check_wishes(wishes, threshold)
    check_output(output, wishes.overwrite)
    network = run.network()
    say("measuring stride and halo")
    reach = measure_reach(network, run.spec.in_channels)
    halo_px = reach.halo_px
    edge_px = round_up(max(TILE_PX, 2 * halo_px + reach.stride_px), reach.stride_px) + 2 * halo_px
    real = real_tiles(run, GOLDEN_TILES, CALIBRATION_TILES, edge_px)
    sets = [real.golden] if wishes.test_input == "source" else [_phantom_tiles(run, edge_px), real.golden]
    golden = [answers_of(network, _as_shipped(tiles, run.normalisation), halo_px) for tiles in sets]
    calibration = answers_of(network, real.calibration, halo_px)
    say("exporting the network and making its precisions")
    onnx_file = export_onnx(network, run.spec.in_channels, reach.stride_px)
    networks, failures = _networks(onnx_file, wishes.precisions, calibration, threshold)
    say(f"examining {', '.join(networks)} on {' and '.join(str(len(one.tiles)) for one in golden)} tiles")
    verdicts = certify(networks, golden, calibration, threshold, timer)
    verdicts = replace(verdicts, refusals=(*failures, *verdicts.refusals))
    refused = _judge(verdicts, threshold, pictures or output.with_suffix(""), wishes.strict)
    cost = network_cost(networks[REFERENCE_PRECISION], run.spec.in_channels)
    contract = _contract(run, wishes, threshold, reach, verdicts, cost)
    members = _members(contract, run, wishes, networks, golden[0])
    return Exported(write_package(output, contract, members), refused)


def check_wishes(wishes: Wishes, threshold: float) -> None:
    """Refuse wishes that make no sense.

    Raises:
        UsageError: the threshold is no probability, or a precision is unknown or the reference is missing.
    """
    if not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold is {threshold:g}, wanted a number between 0 and 1, both excluded")
    unknown = sorted(set(wishes.precisions) - set(PRECISIONS))
    if unknown:
        raise UsageError(f"there is no precision {unknown[0]!r}: --precision takes {', '.join(PRECISIONS)}")
    if REFERENCE_PRECISION not in wishes.precisions:
        raise UsageError(
            f"--precision leaves out {REFERENCE_PRECISION}, to which every package falls back: add it"
        )


def _networks(
    reference: bytes, precisions: Sequence[str], calibration: Answers, threshold: float
) -> tuple[dict[str, bytes], list[Refusal]]:
    """Make the ONNX file of each precision; bf16 is an engine's arithmetic on the reference."""

    def quantised(name: str, quantise: Quantise) -> bytes:
        return fitted(reference, quantise, name, calibration, threshold, TOLERANCES[name])

    make: dict[str, Callable[[], bytes]] = {
        "fp32": lambda: reference,
        "fp16": lambda: to_fp16(reference),
        "bf16": lambda: reference,
        "int8": lambda: quantised("int8", to_int8),
        "int8-trt": lambda: quantised("int8-trt", to_int8_trt),
    }
    networks: dict[str, bytes] = {}
    failures: list[Refusal] = []
    for name in PRECISIONS:
        if name in precisions:
            try:
                networks[name] = make[name]()
            except Exception as error:  # a quantiser that fails must not cost the other precisions
                words = f"cannot be made ({type(error).__name__}: {' '.join(str(error).split())})"
                failures.append(Refusal(Candidate("cpu", name), words))
    return networks, failures


def _as_shipped(tiles: Tiles, rule: Normalisation) -> Tiles:
    """Return tiles as they come back from the package, where they are 8-bit grey."""
    return golden_table(rule)[grey_from_tiles(tiles, rule)]


def _judge(verdicts: Verdicts, threshold: float, pictures: Path, strict: bool) -> tuple[str, ...]:
    """Say what is refused, show the worst tiles, and refuse the package where there must not be one."""
    sentences = []
    for refusal in verdicts.refusals:
        candidate, worst = refusal.candidate, refusal.worst
        sentence = f"{candidate.precision} by {candidate.engine} {refusal.reason}"
        if worst is not None and refusal.threshold is not None:
            picture = pictures.with_name(
                f"{pictures.name}.worst-{candidate.precision}-{candidate.engine}.png"
            )
            index, answers = worst.parity.worst_tile, worst.answers
            write_worst_tile(
                picture,
                core_of(answers.tiles[index], answers.halo_px),
                answers.probability[index, 0],
                worst.found[index, 0],
                (threshold, refusal.threshold),
            )
            sentence += f" ({picture} shows it)"
        sentences.append(sentence)
    if REFERENCE_PRECISION not in verdicts.certificates or (strict and sentences):
        raise CertificateError(
            f"{'; '.join(sentences)}: no package was written; "
            + (
                "export without --strict, or leave it out with --precision"
                if REFERENCE_PRECISION in verdicts.certificates
                else "export with another version of torch or onnxruntime"
            )
        )
    return tuple(sentences)


def _contract(
    run: Run, wishes: Wishes, threshold: float, reach: Reach, verdicts: Verdicts, cost: Cost
) -> Contract:
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
        precisions={
            name: Precision(_MEMBERS[name], verdicts.certificates[name])
            for name in PRECISIONS
            if name in verdicts.certificates
        },
        domain=run.domain,
        multiply_adds_per_px=cost.multiply_adds_per_px,
        values_per_px=cost.values_per_px,
        provenance=_provenance(run),
    )


def _phantom_tiles(run: Run, edge_px: int) -> Tiles:
    """Return made-up tissue as network input, each image normalised by itself as a volume would be."""
    pixel_nm = run.working_voxel_nm or run.voxel_nm[1]
    images = [phantom_image(run.spec.in_channels, edge_px, pixel_nm, index) for index in range(GOLDEN_TILES)]
    rule = run.normalisation
    return np.concatenate(
        [fit_map(np.bincount(one.ravel(), minlength=256), rule, "phantom").apply(one) for one in images]
    )


def _members(
    contract: Contract, run: Run, wishes: Wishes, networks: Mapping[str, bytes], golden: Answers
) -> dict[str, bytes]:
    grey = grey_from_tiles(golden.tiles, run.normalisation)
    best = most_foreground(golden.probability)
    # What bioimage.io tests: the core of the tile with the most foreground.
    image = np.ascontiguousarray(core_of(grey[best], contract.halo_px)[None])
    tensors = make_test_tensors(networks[REFERENCE_PRECISION], image, contract.normalisation)
    members = {
        COVER_MEMBER: cover_png(tensors),
        README_MEMBER: write_readme(contract, wishes.test_input).encode("utf-8"),
        TEST_INPUT_MEMBER: _npy(tensors.image),
        TEST_OUTPUT_MEMBER: _npy(tensors.output),
        **golden_members(grey, golden.probability),
        **{contract.precisions[name].member: networks[name] for name in contract.precisions},
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


_PATH_KEYS = {"image", "mask", "valid", "path", "run", "teacher"}
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
