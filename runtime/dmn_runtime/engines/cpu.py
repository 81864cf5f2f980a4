"""ONNX Runtime on the CPU: one single-threaded call a worker, over different tiles.

Several such calls side by side beat one call with several threads: nothing waits at a barrier, and a busy
machine costs one tile instead of all.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError
from dmn_runtime.plan import Footprint
from dmn_runtime.tiles import gather, scatter
from dmn_runtime.volume.base import Voxels


@dataclass(frozen=True)
class CpuEngine:
    """A network on the CPU with its normalisation; satisfies `Engine`.

    `table` is the network input of each grey value of the volume's dtype.
    """

    session: ort.InferenceSession
    table: NDArray[np.float32]
    footprint: Footprint
    name: str = "cpu"

    @property
    def description(self) -> str:
        """Library, version and device, for the report."""
        return f"onnxruntime {ort.__version__}, {self.session.get_providers()[0]}, 1 thread a worker"

    def logits(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the bare network: float32 nchw in, float32 nchw out."""
        result: NDArray[np.float32] = self.session.run(None, {"image": tiles})[0]
        return result

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of the patch's core; see `Engine`."""
        logits = self.logits(gather(patch, self.table, self.footprint.context_slices))
        return scatter(logits, self.footprint.halo_px)

    def close(self) -> None:
        """Nothing to do: the session goes with the object."""


def open_cpu_engine(network: bytes, table: NDArray[np.float32], footprint: Footprint) -> CpuEngine:
    """Load an ONNX network.

    Args:
        network: the bytes of the .onnx file; input `image`, one output.
        table: network input of each grey value.
        footprint: of the network.

    Raises:
        EngineError: ONNX Runtime cannot load the network.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # The library raises unrelated types; the package's hash has been checked, so its words are the cause.
        raise EngineError(f"onnxruntime {ort.__version__} cannot load the network: {error}") from error
    return CpuEngine(session, table, footprint)
