"""The devices that the seam's suite runs on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from by_file import imported
from dmn_runtime.errors import EngineError, MissingExtra
from dmn_runtime.gpu import pycuda_driver
from dmn_runtime.gpu.device import Device
from dmn_runtime.gpu.open import open_device


def beside(name: str) -> ModuleType:
    """Import a helper that stands beside this file."""
    return imported(Path(__file__).with_name(f"{name}.py"))


@pytest.fixture
def numpy_device() -> Device:
    """Return a NumPy device, current in this thread."""
    device: Device = beside("numpy_device").NumpyDevice()
    device.make_current()
    return device


@pytest.fixture
def fake_pycuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Put a pycuda.driver over a NumPy device in place; all threads must have left it at the end."""
    package = ModuleType("pycuda")
    driver = beside("fake_pycuda").fake_driver(beside("numpy_device").NumpyDevice())
    package.driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setattr(pycuda_driver, "require", lambda *names, to: None)
    monkeypatch.setattr(pycuda_driver, "_uuid", lambda ordinal: "5f1e0c2a-1111-2222-3333-444455556666")
    monkeypatch.setattr(pycuda_driver, "_OPENED", {})
    monkeypatch.setattr(pycuda_driver.atexit, "register", lambda function, *arguments: function)
    yield driver
    for device in pycuda_driver._OPENED.values():
        pycuda_driver._end(device)
    driver.check_left()


@pytest.fixture(params=["numpy", "fake_pycuda", "cuda_core", "pycuda"])
def device(request: pytest.FixtureRequest) -> Device:
    """Return an open device, current in this thread, by each adapter that can be had here."""
    if request.param == "numpy":
        device: Device = request.getfixturevalue("numpy_device")
        return device
    if request.param == "fake_pycuda":
        request.getfixturevalue("fake_pycuda")
        return open_device("pycuda")
    try:
        return open_device(request.param)
    except (EngineError, MissingExtra) as error:
        pytest.skip(f"no GPU to test on: {error}")
