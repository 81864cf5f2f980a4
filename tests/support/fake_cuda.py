"""A fake GPU in the place of the engine `cuda`, for tests of whole runs."""

from pathlib import Path
from typing import Any

import pytest

from by_file import imported
from dmn_runtime.engines import catalogue
from dmn_runtime.engines.catalogue import Kind

GPU_TESTS = Path(__file__).parents[1] / "runtime" / "gpu"


def put_in_place_of_cuda(device: Any, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let engine `cuda` run on `device`, with its cache in the folder `cache`."""

    def open_fake(order: Any) -> Any:
        device.make_current()
        runner = imported(GPU_TESTS / "device_network.py").FakeDeviceRunner
        return runner(device, order.package.network(order.precision))

    kinds = tuple(
        Kind("cuda", ("fp32",), lambda: None, open_fake, on_gpu=True) if kind.word == "cuda" else kind
        for kind in catalogue.KINDS
    )
    monkeypatch.setattr(catalogue, "KINDS", kinds)
    monkeypatch.setenv("DMN_CACHE_DIR", str(cache))
