"""Which engine runs: the word of `--engine` to an open engine, always said, never silently another."""

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.engines.base import Engine
from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.errors import EngineError
from dmn_runtime.plan import Footprint

ENGINES = ("cpu",)


def open_engine(word: str, network: bytes, table: NDArray[np.float32], footprint: Footprint) -> Engine:
    """Open the engine that `word` names; "auto" takes the fastest there is.

    Args:
        word: "auto" or one of `ENGINES`.
        network: the ONNX file's bytes.
        table: network input of each grey value.
        footprint: of the network.

    Raises:
        EngineError: there is no such engine.
    """
    if word not in ("auto", *ENGINES):
        raise EngineError(f"there is no engine {word!r}: --engine takes auto, {', '.join(ENGINES)}")
    return open_cpu_engine(network, table, footprint)
