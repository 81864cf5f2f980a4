"""The cuda.core adapter as far as it goes without a GPU: what it says when there is none."""

import sys
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import pytest

from dmn_runtime.errors import EngineError, MissingExtra
from dmn_runtime.gpu import cuda_core
from dmn_runtime.gpu.cuda_core import CudaStream, open_cuda_device


def test_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmn_runtime.extras.is_present", lambda name: False)
    with pytest.raises(MissingExtra, match=r"to use the GPU, cuda.core, cuda.bindings .*dmn-em\[gpu\]"):
        open_cuda_device()


def _install(monkeypatch: pytest.MonkeyPatch, **modules: ModuleType) -> None:
    monkeypatch.setattr(cuda_core, "require", lambda *names, to: None)
    cuda = ModuleType("cuda")
    monkeypatch.setitem(sys.modules, "cuda", cuda)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"cuda.{name}", module)
        setattr(cuda, name, module)


class _CudaError(Exception):
    __module__ = "cuda.core._utils.cuda_utils"


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, _CudaError])
def test_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def refuse(ordinal: int) -> NoReturn:
        raise kind("no driver\nat all")

    core = ModuleType("cuda.core")
    core.Device = refuse  # type: ignore[attr-defined]
    _install(monkeypatch, core=core)
    with pytest.raises(
        EngineError, match=r"GPU 0 cannot be opened \(no driver at all\): see what nvidia-smi"
    ):
        open_cuda_device()


def test_a_bug_of_ours_is_not_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(ordinal: int) -> NoReturn:
        raise KeyError(ordinal)

    core = ModuleType("cuda.core")
    core.Device = break_down  # type: ignore[attr-defined]
    _install(monkeypatch, core=core)
    with pytest.raises(KeyError):
        open_cuda_device()


def test_a_copy_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings = ModuleType("cuda.bindings")
    failed = SimpleNamespace(name="CUDA_ERROR_ILLEGAL_ADDRESS")
    bindings.driver = SimpleNamespace(  # type: ignore[attr-defined]
        cuMemcpyAsync=lambda target, source, nbytes, stream: (failed,),
        CUresult=SimpleNamespace(CUDA_SUCCESS=SimpleNamespace(name="CUDA_SUCCESS")),
    )
    _install(monkeypatch, bindings=bindings)
    import numpy as np

    host = SimpleNamespace(data=np.zeros(8, np.uint8))
    with pytest.raises(EngineError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        CudaStream(None, 5).upload(host, SimpleNamespace(nbytes=8, address=1 << 20), 8)  # type: ignore[arg-type]
