"""Which precisions of a network may be shipped: parity with the trained network on real tiles, and speed.

Every precision is run by the engines that it is made for, as far as they are installed here. One that strays
too far by all of them, or is not worth its loss, is left out of the package, and the worst tile is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from dmn_export.onnx_export import INPUT_NAME, OUTPUT_NAME
from dmn_runtime.certificate.parity import Parity, compare, recalibrated
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.contract import Certificate
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.engines.openvino import open_openvino
from dmn_runtime.engines.trial import probabilities, timed
from dmn_runtime.errors import EngineError
from dmn_runtime.extras import is_present
from dmn_runtime.machine import cpu_model

Array = NDArray[np.float32]
Probability = NDArray[np.floating]
Timer = Callable[[Mapping[Candidate, Runner], Array, int], dict[Candidate, float]]

REFERENCE = "fp32"
_EXAMINERS = {
    "fp32": ("cpu", "openvino"),
    "fp16": ("cpu",),
    "bf16": ("openvino",),
    "int8": ("cpu", "openvino"),
    "int8-trt": ("cpu",),
}
"""Precision -> engines of this machine's processor that show what it is worth."""

# Fused, ONNX Runtime's 8-bit kernels for signed activations saturate on processors without VNNI; written out,
# the graph computes what TensorRT will.
_UNOPTIMISED = {"int8-trt"}


@dataclass(frozen=True)
class Answers:
    """Tiles, float32 nchw, and what the trained network says of them in float32: probability, n1hw."""

    tiles: Array
    probability: Probability


@dataclass(frozen=True)
class Refusal:
    """Why a precision run by an engine is not shipped.

    `parity` and `found` (probability of the worst tile, hw) are None where it did not run or is too slow.
    """

    candidate: Candidate
    reason: str
    parity: Parity | None = None
    found: Probability | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Verdicts:
    """What came of every precision: certificates of those that may be shipped, and the refusals."""

    certificates: dict[str, tuple[Certificate, ...]]
    refusals: tuple[Refusal, ...]


def answers_of(network: nn.Module, tiles: Array) -> Answers:
    """Ask the trained network, float32 on the CPU, in eval mode."""
    return Answers(tiles, probability(run_torch(network, tiles)))


def certify(
    networks: Mapping[str, bytes],
    golden: Answers,
    calibration: Answers,
    threshold: float,
    timer: Timer = timed,
    tolerances: Mapping[str, Tolerance] = TOLERANCES,
) -> Verdicts:
    """Examine every precision by every engine of this machine that it is meant for.

    Args:
        networks: precision -> ONNX file.
        golden: what they are examined on.
        calibration: other tiles, on which thresholds are recalibrated.
        threshold: probability from which a pixel is foreground in the trained network.
        timer: times runners on one tile with a number of workers.
        tolerances: precision -> what is allowed.
    """
    runners, refusals = _opened(networks)
    speeds = timer(runners, golden.tiles[:1], 1)
    certificates: dict[str, list[Certificate]] = {}
    for candidate, runner in runners.items():
        speed = speeds[candidate]
        of_fp32 = speeds.get(Candidate(candidate.engine, REFERENCE))
        own = threshold
        if candidate.precision != REFERENCE:
            own = recalibrated(calibration.probability, probabilities(runner, calibration.tiles), threshold)
        found = probabilities(runner, golden.tiles)
        parity = compare(golden.probability, found, threshold, own)
        tolerance = tolerances[candidate.precision]
        speedup = None if of_fp32 is None or candidate.precision == REFERENCE else speed / of_fp32
        reason = _reason(parity, tolerance, speedup)
        if reason is None:
            one = _certificate(candidate, runner, parity, tolerance, own, speed, speedup)
            certificates.setdefault(candidate.precision, []).append(one)
        else:
            worst = None if parity.within(tolerance) else found[parity.worst_tile, 0]
            refusals.append(Refusal(candidate, reason, parity, worst, own))
    return Verdicts({name: tuple(ones) for name, ones in certificates.items()}, tuple(refusals))


def _opened(networks: Mapping[str, bytes]) -> tuple[dict[Candidate, Runner], list[Refusal]]:
    runners: dict[Candidate, Runner] = {}
    refusals: list[Refusal] = []
    for precision, network in networks.items():
        for engine in _EXAMINERS[precision]:
            if engine == "openvino" and not is_present("openvino"):
                continue
            candidate = Candidate(engine, precision)
            try:
                runners[candidate] = runner_for(candidate, network)
            except EngineError as error:
                refusals.append(Refusal(candidate, str(error)))
    return runners, refusals


def runner_for(candidate: Candidate, network: bytes) -> Runner:
    """Open a network as it is examined here, on one thread.

    Raises:
        EngineError: it cannot be opened.
    """
    if candidate.engine == "openvino":
        return open_openvino(network, candidate.precision, 1)
    return open_cpu(network, optimised=candidate.precision not in _UNOPTIMISED)


def _reason(parity: Parity, tolerance: Tolerance, speedup: float | None) -> str | None:
    if not parity.within(tolerance):
        return (
            f"differs from the trained network by {parity.iou_change:.2g} in IoU (allowed "
            f"{tolerance.iou_change:g}) and {parity.max_dp:.2g} in probability (allowed "
            f"{tolerance.max_dp:g}), worst on tile {parity.worst_tile + 1} of {parity.tiles}"
        )
    if speedup is not None and speedup < tolerance.speedup:
        return f"is only {speedup:.2f} times as fast as fp32, wanted {tolerance.speedup:g} times"
    return None


def _certificate(
    candidate: Candidate,
    runner: Runner,
    parity: Parity,
    tolerance: Tolerance,
    threshold: float,
    speed: float,
    speedup: float | None,
) -> Certificate:
    unoptimised = ", graph as written" if candidate.precision in _UNOPTIMISED else ""
    return Certificate(
        engine=candidate.engine,
        library=runner.description.partition(",")[0] + unoptimised,
        device=f"{cpu_model()}, 1 thread",
        tiles=parity.tiles,
        threshold=threshold,
        max_dp=parity.max_dp,
        mean_dp=parity.mean_dp,
        iou_change=parity.iou_change,
        objects=parity.objects,
        objects_matched=parity.objects_matched,
        tolerance_max_dp=tolerance.max_dp,
        tolerance_iou_change=tolerance.iou_change,
        voxels_per_s=speed,
        speedup=speedup,
        passed=True,
    )


def run_torch(network: nn.Module, tiles: Array) -> Array:
    """Return the torch network's logits of `tiles`, nchw, one tile at a time."""
    with torch.inference_mode():
        logits = [network(torch.from_numpy(tile[None])).numpy() for tile in tiles]
    return np.concatenate(logits)


def run_onnx(onnx_file: bytes, tiles: Array) -> Array:
    """Return the logits of `tiles`, nchw, by ONNX Runtime on one thread of the CPU, one tile at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: tile[None]})[0] for tile in tiles])


def probability(logits: Array) -> NDArray[np.float64]:
    """Return the sigmoid of `logits`, in float64 so that a comparison adds no error of its own."""
    # By tanh, which cannot overflow.
    return 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))


def shipped(verdicts: Verdicts, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return which of the wanted precisions some engine was certified for, in the order wanted."""
    return tuple(name for name in wanted if name in verdicts.certificates)
