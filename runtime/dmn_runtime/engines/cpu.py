"""ONNX Runtime on the CPU: one single-threaded call a worker, over different tiles.

Several such calls side by side beat one call with several threads: nothing waits at a barrier, and a busy
machine costs one tile instead of all.
"""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.engines.host import HostEngine
from dmn_runtime.engines.onnx_session import CPU, OnnxRunner, open_session, runner_of
from dmn_runtime.plan import Footprint


def open_cpu(network: bytes, *, optimised: bool = True) -> OnnxRunner:
    """Load a network on the CPU; see `open_session`.

    Raises:
        EngineError: ONNX Runtime cannot load the network.
    """
    return runner_of(open_session(network, CPU, optimised=optimised), "1 thread a worker")


def open_cpu_engine(network: bytes, table: NDArray[np.float32], footprint: Footprint) -> HostEngine:
    """Load a network in fp32 as an engine.

    Args:
        network: the bytes of the .onnx file; input `image`, one output.
        table: network input of each grey value.
        footprint: of the network.

    Raises:
        EngineError: ONNX Runtime cannot load the network.
    """
    return HostEngine("cpu", "fp32", open_cpu(network), table, footprint)
