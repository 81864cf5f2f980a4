"""ONNX Runtime on an NVIDIA GPU (onnxruntime-gpu): no building, every GPU that CUDA knows."""

from dmn_runtime.engines.onnx_session import OnnxRunner, open_session, runner_of

PROVIDER = "CUDAExecutionProvider"


def open_cuda(network: bytes) -> OnnxRunner:
    """Load a network on the first GPU.

    Raises:
        EngineError: there is no GPU for this ONNX Runtime, or it cannot load the network.
    """
    return runner_of(open_session(network, PROVIDER), "GPU 0")
