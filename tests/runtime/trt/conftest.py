"""The doubles of a GPU and of TensorRT's running half, and a small network to build and run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from by_file import imported
from dmn_runtime.plan import Footprint
from dmn_runtime.trt.library import Library, load_library

_HERE = Path(__file__).parent


@pytest.fixture
def numpy_device() -> Any:
    """Return a fresh NumPy device."""
    return imported(_HERE.parent / "gpu" / "numpy_device.py").NumpyDevice()


@pytest.fixture
def fake_library(numpy_device: Any) -> Library:
    """Return the double of native TensorRT on that device."""
    fake = imported(_HERE / "fake_library.py")
    return Library("tensorrt", fake.fake_api(numpy_device), fake.VERSION)


@pytest.fixture
def fake_plan() -> Callable[..., bytes]:
    """Return the maker of the double's plans."""
    make: Callable[..., bytes] = imported(_HERE / "fake_library.py").fake_plan
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
