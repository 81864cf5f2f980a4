"""What the driver says, and what is told of it."""

import re

import pytest

from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu.driver_errors import FAULTS, OUT_OF_MEMORY, driver_error, error_name

WHAT = "a copy to the GPU failed"


@pytest.mark.parametrize("name", FAULTS)
def test_each_error_is_one_sentence_however_it_is_told(name: str) -> None:
    fault = FAULTS[name]
    wanted = f"{WHAT}, since {fault.happened} ({name}): {fault.mend}"
    for said in (name, f"{name}: the API call\nfailed.", f"cuCall failed: {fault.text}"):
        error = driver_error(WHAT, said)
        assert str(error) == wanted
        assert isinstance(error, GpuMemoryError) == (name == OUT_OF_MEMORY)
    assert "\n" not in wanted
    assert not re.search(r"[.:] [A-Z]|\.$", wanted), "more than one sentence"


def test_texts_are_told_apart() -> None:
    assert len({fault.text for fault in FAULTS.values()}) == len(FAULTS)


def test_the_names_are_the_librarys() -> None:
    driver = pytest.importorskip(
        "cuda.bindings.driver", reason="cuda-bindings is not installed: pip install it"
    )
    known = {status.name for status in driver.CUresult}
    assert set(FAULTS) - known == {"CUDA_ERROR_INSUFFICIENT_DRIVER"}  # the runtime library's, with its text


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("cuMemAlloc failed: out of memory", OUT_OF_MEMORY),
        ("cuModuleLoadDataEx failed: device kernel image is invalid - ", "CUDA_ERROR_INVALID_IMAGE"),
        ("cuModuleGetFunction failed: named symbol not found - k - k", "CUDA_ERROR_NOT_FOUND"),
        ('Function "cuMemcpyAsync" not found', "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"),
        ("function cuGraphLaunch is not found", "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"),
        ("_driver.so: undefined symbol: cuCtxCreate_v4", "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"),
        ("CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED"),
        ("the disk is out of memory", None),
        ("undefined symbol: PyCurious", None),
    ],
)
def test_an_error_is_recognised(said: str, name: str | None) -> None:
    assert error_name(" ".join(said.split())) == name


@pytest.mark.parametrize(
    "said",
    [
        ImportError("libcuda.so.1: cannot open shared object file: No such file or directory"),
        OSError("Could not find module 'nvcuda.dll' (or one of its dependencies)"),
        RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.'),
    ],
)
def test_a_driver_that_is_missing(said: Exception) -> None:
    told = str(driver_error("GPU 0 cannot be opened", said))
    assert told == (
        "GPU 0 cannot be opened, since no NVIDIA driver was found: install it, or run on the processor"
    )


def test_an_error_that_is_not_listed_is_told_by_its_name_or_words() -> None:
    by_name = driver_error(WHAT, "CUDA_ERROR_TOO_MANY_PEERS: peers")
    assert str(by_name) == f"{WHAT} (CUDA_ERROR_TOO_MANY_PEERS): see what nvidia-smi says"
    by_words = driver_error(WHAT, "odd\n things " * 100)
    assert str(by_words).startswith(f"{WHAT} (odd things odd")
    assert len(str(by_words)) < 300
    assert type(by_words) is EngineError
