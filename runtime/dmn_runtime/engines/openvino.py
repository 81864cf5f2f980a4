"""OpenVINO on the CPU (extra `openvino`): the fastest on Intel's and AMD's processors by our measurement.

One single-threaded inference request a worker. The arithmetic is always said: by default OpenVINO runs a
float32 network in bfloat16 where the processor has it, and calls it float32 (seen with 2026.4.1 on AMX:
differences of probability up to 0.02). That speed is welcome, but under its own name and certificate, bf16.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from dmn_runtime.engines.base import Tiles
from dmn_runtime.errors import EngineError
from dmn_runtime.extras import require

_HINT = {"bf16": "bf16"}


@dataclass(frozen=True)
class OpenVinoRunner:
    """A compiled network; satisfies `Runner`. Each thread has a request of its own."""

    compiled: Any
    description: str
    _requests: threading.local = field(default_factory=threading.local)

    def run(self, tiles: Tiles) -> Tiles:
        """Return the logits, float32 nchw, of float32 nchw."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        result = self._requests.own.infer({0: tiles}, share_inputs=True, share_outputs=True)
        return np.array(result[0], np.float32)  # a copy: the request keeps its buffer for the next call

    def close(self) -> None:
        """Nothing to do: the network goes with the object."""


@cache
def has_bfloat16() -> bool:
    """Tell whether OpenVINO, which must be installed, computes in bfloat16 on this CPU."""
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class _SignalStack(ctypes.Structure):
    """stack_t of signal.h on Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """Put the calling thread's signal stack back as it was.

    Compiling gives the thread another one, and freeing the network puts back what was there before, which may
    belong to a network that is gone: the next signal, a Ctrl-C, then ends the process (openvino 2026.4.1).
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


def _initialise() -> None:
    """Let this thread alone be the first to hand OpenVINO an array.

    Two threads that are the first together wait for each other for ever: one has the interpreter's lock and
    wants the library's, the other the reverse (openvino 2026.4.1, seen in one run of three).
    """
    import openvino

    openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)


def open_openvino(network: bytes, precision: str, workers: int) -> OpenVinoRunner:
    """Compile a network for the CPU.

    Args:
        network: the ONNX file's bytes.
        precision: "bf16" asks for bfloat16 arithmetic, any other word for that of the file.
        workers: how many threads will call at once.

    Raises:
        MissingExtra: OpenVINO is not installed.
        EngineError: it cannot load the network, or the CPU has no bfloat16.
    """
    require("openvino", to="use the engine openvino")
    import openvino

    version = openvino.__version__.partition("-")[0]
    settings = {
        "INFERENCE_NUM_THREADS": workers,
        "NUM_STREAMS": workers,
        "INFERENCE_PRECISION_HINT": _HINT.get(precision, "f32"),
    }
    _initialise()
    try:
        core = openvino.Core()
        if precision == "bf16" and not has_bfloat16():
            raise EngineError("this CPU has no bfloat16: take another --precision")
        with _signal_stack_kept():
            compiled = core.compile_model(core.read_model(network), "CPU", settings)
    except RuntimeError as error:
        words = " ".join(str(error).split())
        raise EngineError(f"openvino {version} cannot load the network: {words}") from error
    return OpenVinoRunner(compiled, f"openvino {version}, CPU, 1 thread a worker")
