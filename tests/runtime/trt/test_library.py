"""Which library is loaded, and what is said when it cannot be; the driver's absence."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

from dmn_runtime.errors import EngineError, MissingExtra
from dmn_runtime.trt import driver, library
from dmn_runtime.trt.library import Library, load_library


def test_the_real_one(rtx: Library) -> None:
    assert (rtx.word, rtx.api.__version__) == ("tensorrt_rtx", rtx.version)
    assert rtx.name == f"TensorRT-RTX {rtx.version}"


@pytest.mark.parametrize("word", ["tensorrt", "tensorrt_rtx"])
def test_the_extra_is_named(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmn_runtime.extras.is_present", lambda name: False)
    with pytest.raises(MissingExtra, match=rf"dmn-em\[{word.replace('_', '-')}\]"):
        load_library(word)


def test_no_such_library() -> None:
    with pytest.raises(EngineError, match="'trt': take one of tensorrt, tensorrt_rtx"):
        load_library("trt")


def _installed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setattr(library, "require", lambda *names, to: None)
    monkeypatch.setitem(sys.modules, "tensorrt", module)


@pytest.mark.parametrize("version", ["11.1.0", "11.4.0.106", "12.0"])
def test_new_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, version)
    assert load_library("tensorrt").name == f"TensorRT {version}"


@pytest.mark.parametrize("version", ["10.14.1", "11.0.0.3"])
def test_too_old(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, version)
    with pytest.raises(EngineError, match=rf"TensorRT {version} is installed, 11\.1 or newer"):
        load_library("tensorrt")


def test_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(word: str) -> NoReturn:
        raise OSError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(library, "require", lambda *names, to: None)
    monkeypatch.setattr(library.importlib, "import_module", fail)
    with pytest.raises(EngineError, match=r"cannot be loaded \(libnvinfer\.so\.11"):
        load_library("tensorrt")


def test_no_driver() -> None:
    with pytest.raises(EngineError, match=r"has no NVIDIA driver \(libnowhere\.so cannot be loaded\)"):
        driver.require_driver("libnowhere.so")


def _driver(status: int) -> Any:
    def attribute(target: Any, which: int, device: Any) -> int:
        target._obj.value = {75: 8, 76: 9}[which]
        return 0

    return SimpleNamespace(
        cuInit=lambda flags: status, cuDeviceGet=lambda target, n: 0, cuDeviceGetAttribute=attribute
    )


def test_a_driver_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: _driver(100))
    with pytest.raises(EngineError, match=r"finds no GPU that it can use \(cuInit returned 100\)"):
        driver.require_driver()


def test_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: _driver(0))
    assert driver.first_compute_capability() == "8.9"


def test_a_gpu_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = _driver(0)
    silent.cuDeviceGet = lambda target, n: 101
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: silent)
    with pytest.raises(EngineError, match=r"does not describe its GPU .error 101"):
        driver.first_compute_capability()
