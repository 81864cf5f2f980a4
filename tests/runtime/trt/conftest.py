"""The doubles of a GPU and of TensorRT's running half, and a small network to build and run."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dmn_runtime.plan import Footprint
from dmn_runtime.trt.library import Library, load_library


def _helper(path: Path) -> ModuleType:
    """Import a helper by its file, once; tests are no package."""
    title = f"dmn_test_{path.stem}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


_HERE = Path(__file__).parent


@pytest.fixture
def numpy_device() -> Any:
    """Return a fresh NumPy device."""
    return _helper(_HERE.parent / "gpu" / "numpy_device.py").NumpyDevice()


@pytest.fixture
def fake_library(numpy_device: Any) -> Library:
    """Return the double of native TensorRT on that device."""
    fake = _helper(_HERE / "fake_library.py")
    return Library("tensorrt", fake.fake_api(numpy_device), fake.VERSION)


@pytest.fixture
def fake_plan() -> Callable[..., bytes]:
    """Return the maker of the double's plans."""
    make: Callable[..., bytes] = _helper(_HERE / "fake_library.py").fake_plan
    return make


@pytest.fixture(scope="session")
def rtx() -> Library:
    """Return the real TensorRT-RTX."""
    pytest.importorskip(
        "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: pip install it to build plans"
    )
    return load_library("tensorrt_rtx")


@pytest.fixture(scope="session")
def network(small_network: Callable[[int], tuple[bytes, Footprint]]) -> bytes:
    """Return a small U-Net of one channel as ONNX: stride 2 px, halo 6 px."""
    return small_network(0)[0]
