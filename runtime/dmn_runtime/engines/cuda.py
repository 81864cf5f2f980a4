"""ONNX Runtime on an NVIDIA GPU (onnxruntime-gpu): no building, every GPU that CUDA knows."""

import onnxruntime as ort

from dmn_runtime.engines.onnx_session import OnnxRunner, open_session, runner_of

PROVIDER = "CUDAExecutionProvider"
SETTINGS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""fp32 is fp32, and no algorithm is chosen by timing: a resumed run must end in the same bytes."""


def open_cuda(network: bytes) -> OnnxRunner:
    """Load a network on the first GPU.

    Raises:
        EngineError: there is no GPU for this ONNX Runtime, or it cannot load the network.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA and cuDNN that pip has installed
    return runner_of(open_session(network, PROVIDER, settings=SETTINGS), "GPU 0")
