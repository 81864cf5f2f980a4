"""ONNX Runtime sessions: one thread a call, and never another device than the one that was asked for.

ONNX Runtime answers a request for a device that it cannot have with a session on the CPU, and says so in a
log that nobody reads (onnxruntime 1.31). A run that was to take minutes then takes hours, hence the check.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from dmn_runtime.engines.base import Tiles
from dmn_runtime.errors import EngineError

INPUT_NAME = "image"
CPU = "CPUExecutionProvider"
_HALF = "tensor(float16)"


@dataclass(frozen=True)
class OnnxRunner:
    """A network in an ONNX Runtime session; satisfies `Runner`. `half`: input and output are float16."""

    session: ort.InferenceSession
    description: str
    half: bool

    def run(self, tiles: Tiles) -> Tiles:
        """Return the logits, float32 nchw, of float32 nchw."""
        given = tiles.astype(np.float16) if self.half else tiles
        logits: Tiles = self.session.run(None, {INPUT_NAME: given})[0]
        return logits.astype(np.float32, copy=False)

    def close(self) -> None:
        """Nothing to do: the session goes with the object."""


def open_session(
    network: bytes,
    provider: str,
    *,
    optimised: bool = True,
    settings: Mapping[str, str] | None = None,
) -> ort.InferenceSession:
    """Open a session on exactly one device.

    Args:
        network: the ONNX file's bytes.
        provider: ONNX Runtime's name of the device, as "CPUExecutionProvider".
        optimised: False runs the graph as it is written, node by node (the reference for 8-bit networks).
        settings: of the provider.

    Raises:
        EngineError: the network cannot be loaded, or ONNX Runtime would run it on another device.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if provider != CPU:
        # Nodes that the device cannot run would be run on the CPU, which get_providers does not tell.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if provider not in ort.get_available_providers():
        raise EngineError(
            f"this onnxruntime {ort.__version__} has no {provider}, it has "
            f"{', '.join(ort.get_available_providers())}: install the build for this device, "
            "or take --engine cpu"
        )
    try:
        session = ort.InferenceSession(
            network, options, providers=[(provider, dict(settings or {}))], enable_fallback=0
        )  # else what it cannot do on the device it tells standard output and tries on the CPU
    except Exception as error:
        # The library raises unrelated types; the package's hash has been checked, so its words are the cause.
        words = " ".join(str(error).split())
        raise EngineError(f"onnxruntime {ort.__version__} cannot load the network: {words}") from error
    refuse_fallback(session, provider)
    session.disable_fallback()  # else a call that fails is repeated on the CPU, and so are all that follow
    return session


def refuse_fallback(session: ort.InferenceSession, provider: str) -> None:
    """Refuse a session that was put on another device than `provider`, the CPU in practice.

    Raises:
        EngineError: it was.
    """
    found = session.get_providers()
    if not found or found[0] != provider:
        raise EngineError(
            f"onnxruntime {ort.__version__} was asked for {provider} and silently took "
            f"{', '.join(found) or 'nothing'}: driver, CUDA or cuDNN do not fit it, see dmn doctor, or take "
            "--engine cpu"
        )


def runner_of(session: ort.InferenceSession, device: str) -> OnnxRunner:
    """Return a session as a runner; `device` ends its description."""
    description = f"onnxruntime {ort.__version__}, {session.get_providers()[0]}, {device}"
    return OnnxRunner(session, description, session.get_inputs()[0].type == _HALF)
