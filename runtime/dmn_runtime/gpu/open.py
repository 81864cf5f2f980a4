"""Which adapter reaches the GPU: cuda.core where it is installed, else PyCUDA; DMN_GPU_ADAPTER decides."""

import os
from collections.abc import Callable

from dmn_runtime.errors import UsageError
from dmn_runtime.extras import is_present, require
from dmn_runtime.gpu.cuda_core import open_cuda_device
from dmn_runtime.gpu.device import Device
from dmn_runtime.gpu.pycuda_driver import open_pycuda_device

VARIABLE = "DMN_GPU_ADAPTER"
ADAPTERS: dict[str, Callable[[], Device]] = {"cuda_core": open_cuda_device, "pycuda": open_pycuda_device}


def open_device(adapter: str | None = None) -> Device:
    """Open the first GPU and make it current in the calling thread.

    An adapter that is installed and finds no GPU is not passed over: the other one would find none either.

    Args:
        adapter: a key of `ADAPTERS`; None leaves it to DMN_GPU_ADAPTER, then to what is installed.

    Raises:
        UsageError: there is no adapter of that name.
        MissingExtra: no adapter is installed, or not the wanted one.
        EngineError: there is no driver or no GPU.
    """
    return ADAPTERS[chosen_adapter(adapter)]()


def chosen_adapter(adapter: str | None = None) -> str:
    """Return the adapter that `open_device` takes; see there."""
    word = adapter or os.environ.get(VARIABLE) or _installed()
    if word not in ADAPTERS:
        told = repr(word) if adapter else f"{VARIABLE}={word}"
        raise UsageError(f"{told} is no way to reach the GPU: it is one of {', '.join(ADAPTERS)}")
    return word


def _installed() -> str:
    if is_present("cuda.core") and is_present("cuda.bindings"):
        return "cuda_core"
    if is_present("pycuda"):
        return "pycuda"
    require("cuda.core", "cuda.bindings", to="use the GPU")
    raise AssertionError("require lets nothing pass that is not installed")
