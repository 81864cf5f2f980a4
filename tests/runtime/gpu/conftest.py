"""The devices that the seam's suite runs on."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dmn_runtime.errors import EngineError, MissingExtra
from dmn_runtime.gpu.cuda_core import open_cuda_device
from dmn_runtime.gpu.device import Device


def beside(name: str) -> ModuleType:
    """Import a helper that stands beside this file, once; tests are no package."""
    title = f"dmn_test_{name}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


@pytest.fixture(params=["numpy", "cuda_core"])
def device(request: pytest.FixtureRequest) -> Device:
    """Return an open device, current in this thread, by each adapter that can be had here."""
    if request.param == "numpy":
        device = beside("numpy_device").NumpyDevice()
    else:
        try:
            device = open_cuda_device()
        except (EngineError, MissingExtra) as error:
            pytest.skip(f"no GPU to test on: {error}")
    device.make_current()
    return device
