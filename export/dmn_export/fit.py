"""How much of a network is quantised: the fastest rung that is the same segmentation on calibration tiles."""

from collections.abc import Callable

from dmn_export.certify import Answers, runner_for
from dmn_export.precision import RUNGS, Tiles
from dmn_runtime.certificate.parity import compare, recalibrated
from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.engines.candidates import Candidate

MARGIN = 0.8
"""Share of the tolerance that must suffice on the tiles the network was fitted to; others will be worse."""

Quantise = Callable[[bytes, Tiles, tuple[int, int]], bytes]


def fitted(
    network: bytes,
    quantise: Quantise,
    precision: str,
    calibration: Answers,
    threshold: float,
    tolerance: Tolerance,
) -> bytes:
    """Return the network quantised at the first rung that is within `MARGIN` of the tolerance, or the best.

    Judged on calibration tiles alone: the golden tiles are for the certificate.

    Args:
        network: in fp32.
        quantise: makes the precision at a rung.
        precision: its name.
        calibration: tiles and the trained network's answers.
        threshold: probability from which a pixel is foreground in the trained network.
        tolerance: of the precision.
    """
    tried: list[tuple[float, bytes]] = []
    for rung in RUNGS:
        made = quantise(network, calibration.tiles, rung)
        found = calibration.of(runner_for(Candidate("cpu", precision), made))
        own = recalibrated(calibration.probability, found, threshold)
        change = compare(calibration.probability, found, threshold, own).iou_change
        if change <= MARGIN * tolerance.iou_change:
            return made
        tried.append((change, made))
    return min(tried, key=lambda one: one[0])[1]
