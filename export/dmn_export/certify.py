"""Parity of an exported network with the torch network it came from, in terms of the segmentation."""

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from dmn_export.onnx_export import INPUT_NAME, OUTPUT_NAME
from dmn_runtime.contract import Certificate
from dmn_runtime.errors import CertificateError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Tolerance:
    """How far an exported network may stray: difference of probability, and 1 - IoU of the masks."""

    max_dp: float
    iou_change: float


FP32_TOLERANCE = Tolerance(max_dp=1e-4, iou_change=0.0005)


def certify(
    network: nn.Module, onnx_file: bytes, tiles: Array, threshold: float, tolerance: Tolerance
) -> Certificate:
    """Compare both networks on real tiles.

    Args:
        network: the source, float32 on the CPU, in eval mode.
        onnx_file: what was exported from it.
        tiles: normalised intensities, float32 nchw.
        threshold: probability from which a pixel is foreground.
        tolerance: what is allowed.

    Returns:
        The certificate, passed. IoU is of all tiles' masks together; two empty masks are equal.

    Raises:
        CertificateError: out of tolerance, or not a number; names the worst tile.
    """
    expected = probability(run_torch(network, tiles))
    found = probability(run_onnx(onnx_file, tiles))
    difference = np.abs(expected - found)
    certificate = Certificate(
        max_dp=float(difference.max()),
        mean_dp=float(difference.mean()),
        iou_change=_iou_change(expected >= threshold, found >= threshold),
        tiles=len(tiles),
        tolerance_max_dp=tolerance.max_dp,
        tolerance_iou_change=tolerance.iou_change,
        passed=True,
        engine=f"onnxruntime {onnxruntime.__version__} CPU",
    )
    # Asked the positive way round, so that NaN fails.
    if certificate.max_dp <= tolerance.max_dp and certificate.iou_change <= tolerance.iou_change:
        return certificate
    raise CertificateError(_refusal(certificate, difference))


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


def _iou_change(expected: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    union = int(np.count_nonzero(expected | found))
    return 1.0 - int(np.count_nonzero(expected & found)) / union if union else 0.0


def _refusal(certificate: Certificate, difference: NDArray[np.float64]) -> str:
    worst = int(np.argmax(difference.max(axis=(1, 2, 3))))
    return (
        f"the exported network differs from the trained one by {certificate.max_dp:.2g} in probability "
        f"(allowed {certificate.tolerance_max_dp:.2g}) and {certificate.iou_change:.2g} in IoU "
        f"(allowed {certificate.tolerance_iou_change:.2g}), worst on tile "
        f"{worst + 1} of {certificate.tiles}: nothing was "
        "written; export with another version of torch or onnxruntime"
    )
