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
from dmn_runtime.contract_json import REFERENCE_PRECISION
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
Timer = Callable[
    [Mapping[Candidate, Runner], Mapping[Candidate, Array], int], dict[Candidate, float | Exception]
]

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

NO_OPENVINO = (
    "cannot be examined without openvino: pip install 'dmn-em[openvino]', then make the package again"
)


@dataclass(frozen=True)
class Answers:
    """What the trained network says of tiles.

    Attributes:
        tiles: network input, float32 nchw.
        probability: of the tiles' cores, n1hw.
        halo_px: what the cores lack on all four sides.
    """

    tiles: Array
    probability: Probability
    halo_px: int

    def of(self, runner: Runner) -> Probability:
        """Return the probability of the same cores by a runner."""
        return probabilities(runner, self.tiles, self.halo_px)


@dataclass(frozen=True)
class Worst:
    """The set of tiles on which a runner does worst: `found` is its probability of the cores, n1hw."""

    answers: Answers
    parity: Parity
    found: Probability


@dataclass(frozen=True)
class Refusal:
    """Why a precision run by an engine is not shipped.

    `worst` is None where it did not run or is only too slow; `threshold` is its own.
    """

    candidate: Candidate
    reason: str
    worst: Worst | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Verdicts:
    """What came of every precision: certificates of those that may be shipped, and the refusals."""

    certificates: dict[str, tuple[Certificate, ...]]
    refusals: tuple[Refusal, ...]


def answers_of(network: nn.Module, tiles: Array, halo_px: int) -> Answers:
    """Ask the trained network, float32 on the CPU, in eval mode."""
    whole = probability(run_torch(network, tiles))
    height, width = tiles.shape[2] - halo_px, tiles.shape[3] - halo_px
    return Answers(tiles, whole[..., halo_px:height, halo_px:width], halo_px)


def certify(
    networks: Mapping[str, bytes],
    golden: Sequence[Answers],
    calibration: Answers,
    threshold: float,
    timer: Timer = timed,
    tolerances: Mapping[str, Tolerance] = TOLERANCES,
) -> Verdicts:
    """Examine every precision by every engine of this machine that it is meant for.

    Args:
        networks: precision -> ONNX file.
        golden: sets of tiles that they are examined on; each set must pass by itself, and the certificate has
            the figures of the one with the largest change of IoU.
        calibration: other tiles, on which thresholds are recalibrated.
        threshold: probability from which a pixel is foreground in the trained network.
        timer: times runners, each on its tile, with a number of workers; what one raised is its result.
        tolerances: precision -> what is allowed.
    """
    runners, refusals = _opened(networks)
    speeds = timer(runners, dict.fromkeys(runners, golden[0].tiles[:1]), 1)
    certificates: dict[str, list[Certificate]] = {}
    for candidate, runner in runners.items():
        tolerance = tolerances[candidate.precision]
        try:
            own = _own_threshold(candidate, runner, calibration, threshold)
            worst = _worst_of(runner, golden, (threshold, own), tolerance)
        except Exception as error:  # a runtime that dies of one precision must not cost the others
            refusals.append(Refusal(candidate, f"does not run ({_words(error)})"))
            continue
        speed, speedup = _speed(candidate, speeds)
        reason = _reason(worst.parity, tolerance, speedup)
        if isinstance(speed, Exception):
            reason = f"does not run ({_words(speed)})"
        if reason is None and isinstance(speed, float):
            one = _certificate(candidate, runner, worst.parity, tolerance, own, speed, speedup)
            certificates.setdefault(candidate.precision, []).append(one)
        else:
            shown = None if worst.parity.within(tolerance) else worst
            refusals.append(Refusal(candidate, reason or "was not timed", shown, own))
    return Verdicts({name: tuple(ones) for name, ones in certificates.items()}, tuple(refusals))


def _own_threshold(candidate: Candidate, runner: Runner, calibration: Answers, threshold: float) -> float:
    if candidate.precision == REFERENCE_PRECISION:
        return threshold
    return recalibrated(calibration.probability, calibration.of(runner), threshold)


def _worst_of(
    runner: Runner, golden: Sequence[Answers], thresholds: tuple[float, float], tolerance: Tolerance
) -> Worst:
    """Return the set of tiles on which a runner does worst, with its parity there.

    A set that is out of tolerance, by whichever figure, is worse than any that is within.
    """

    def badness(one: Worst) -> tuple[bool, bool, float, float]:
        parity = one.parity
        return not parity.within(tolerance), np.isnan(parity.max_dp), parity.iou_change, parity.max_dp

    found = [(answers, answers.of(runner)) for answers in golden]
    return max(
        (Worst(answers, compare(answers.probability, mine, *thresholds), mine) for answers, mine in found),
        key=badness,
    )


def _speed(
    candidate: Candidate, speeds: Mapping[Candidate, float | Exception]
) -> tuple[float | Exception, float | None]:
    """Return a candidate's speed, and that over fp32 by the same engine, None for fp32 itself."""
    speed, exact = speeds[candidate], speeds.get(Candidate(candidate.engine, REFERENCE_PRECISION))
    if (
        candidate.precision == REFERENCE_PRECISION
        or not isinstance(speed, float)
        or not isinstance(exact, float)
    ):
        return speed, None
    return speed, speed / exact


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _opened(networks: Mapping[str, bytes]) -> tuple[dict[Candidate, Runner], list[Refusal]]:
    runners: dict[Candidate, Runner] = {}
    refusals: list[Refusal] = []
    for precision, network in networks.items():
        for engine in _EXAMINERS[precision]:
            candidate = Candidate(engine, precision)
            if engine == "openvino" and not is_present("openvino"):
                if _EXAMINERS[precision] == ("openvino",):
                    refusals.append(Refusal(candidate, NO_OPENVINO))
                continue
            try:
                runners[candidate] = runner_for(candidate, network)
            except EngineError as error:
                refusals.append(Refusal(candidate, f"does not run ({error})"))
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
            f"differs from the trained network by {parity.iou_change:.3g} in IoU (allowed "
            f"{tolerance.iou_change:g}) and {parity.max_dp:.2g} in probability (allowed "
            f"{tolerance.max_dp:g}), worst on tile {parity.worst_tile + 1} of {parity.tiles}"
        )
    if speedup is not None and speedup < tolerance.speedup:
        return (
            f"is only {speedup:.2f} times as fast as fp32, wanted {tolerance.speedup:g} times: if this "
            "machine was busy, make the package again when it is idle"
        )
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
