"""Which adapter is taken."""

import pytest

from dmn_runtime.errors import MissingExtra, UsageError
from dmn_runtime.gpu import open as opening
from dmn_runtime.gpu.open import chosen_adapter, open_device

CORE = {"cuda.core", "cuda.bindings"}


@pytest.fixture(autouse=True)
def nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DMN_GPU_ADAPTER", raising=False)


def install(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr(opening, "is_present", installed.__contains__)
    monkeypatch.setattr("dmn_runtime.extras.is_present", installed.__contains__)


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        (CORE, "cuda_core"),
        (CORE | {"pycuda"}, "cuda_core"),
        ({"pycuda"}, "pycuda"),
        ({"cuda.core", "pycuda"}, "pycuda"),
        ({"cuda.bindings", "pycuda"}, "pycuda"),
    ],
)
def test_what_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch, installed: set[str], taken: str) -> None:
    install(monkeypatch, installed)
    assert chosen_adapter() == taken


@pytest.mark.parametrize("installed", [set(), {"cuda.bindings"}])
def test_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    install(monkeypatch, installed)
    with pytest.raises(MissingExtra, match=r"^to use the GPU, cuda.core.* pip install 'dmn-em\[gpu\]'$"):
        open_device()


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, CORE)
    monkeypatch.setenv("DMN_GPU_ADAPTER", "pycuda")
    assert chosen_adapter() == "pycuda"
    with pytest.raises(MissingExtra, match=r"through PyCUDA, pycuda .*dmn-em\[pycuda\]"):
        open_device()


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, CORE)
    monkeypatch.setenv("DMN_GPU_ADAPTER", "")
    assert chosen_adapter() == "cuda_core"


def test_a_word_of_the_caller_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, CORE)
    monkeypatch.setenv("DMN_GPU_ADAPTER", "pycuda")
    assert chosen_adapter("cuda_core") == "cuda_core"


def test_an_unknown_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMN_GPU_ADAPTER", "opencl")
    with pytest.raises(
        UsageError,
        match=r"^DMN_GPU_ADAPTER=opencl is no way to reach the GPU: it is one of cuda_core, pycuda$",
    ):
        open_device()
    with pytest.raises(UsageError, match=r"^'cl' is no way"):
        open_device("cl")


def test_opens_by_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(opening.ADAPTERS, "pycuda", lambda: "opened")  # type: ignore[arg-type, return-value]
    assert open_device("pycuda") == "opened"
