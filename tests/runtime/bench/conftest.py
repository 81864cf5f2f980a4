"""A bench with round numbers, and the GPU's doubles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from by_file import imported
from dmn_runtime.bench.result import Bench, EngineFacts, VolumeFacts
from dmn_runtime.bench.rounds import Ceilings, EndToEnd, Extent, Rate, Round
from dmn_runtime.machine import Machine
from dmn_runtime.report import GpuFacts, PackageFacts, PlanFacts
from dmn_runtime.stream import threads_for

CEILINGS = Ceilings(8e9, 5e9, 1e10)
GPU = GpuFacts(1152, 8, 3, 8, 2**30, 78 * 2**30, 74 * 2**30)


def make_round(
    network_only_s: float = 2.0,
    wall_s: float = 4.0,
    ceilings: Ceilings | None = CEILINGS,
    gpu: GpuFacts | None = None,
) -> Round:
    """Return a round of 8 Mvoxel: 4 Mvoxel/s by the network alone, 2 end to end."""
    busy_s = {"read": 0.4, "resample": 0.4, "gather": 0.2, "network": 6.0, "scatter": 0.2}
    busy_s |= {"assemble": 0.1, "write": 1.0}
    return Round(
        network_only_s,
        Rate(20e6, 4e9),
        Rate(10e6, 1e9),
        EndToEnd(8_000_000, wall_s, 0.5, busy_s, {"segment": 1.5, "write": 0.25}, gpu),
        ceilings,
    )


@pytest.fixture(scope="session")
def on_gpu() -> GpuFacts:
    """Return what went through a GPU at once."""
    return GPU


@pytest.fixture(scope="session")
def bench_round() -> Callable[..., Round]:
    """Return a maker of rounds."""
    return make_round


@pytest.fixture(scope="session")
def bench() -> Callable[..., Bench]:
    """Return a maker of benches with round numbers, which takes fields that are otherwise."""
    known = Bench(
        measured="2026-11-20T10:00:00+00:00",
        quick=False,
        machine=Machine("Some CPU", 2, 8 * 2**30, "Linux"),
        gpus=(),
        versions={"dmn": "0.1.0", "numpy": "2.4.6"},
        load_average=0.1,
        package=PackageFacts("small", "ab" * 32, None),
        multiply_adds_per_px=1000.0,
        engine=EngineFacts(
            "cpu", "fp32", False, "fp32 by onnxruntime 1.31.1", "the only one", "auto", "auto"
        ),
        volume=VolumeFacts(
            "own.tif", "TIFF", (8, 1000, 1000), "uint8", (50.0, 5.0, 5.0), (50.0, 10.0, 10.0), "f"
        ),
        plan=PlanFacts((8, 1024, 1024), (1, 512, 512), 6, 2, 1, 8),
        workers=2,
        threads=threads_for(2),
        extent=Extent(8_000_000, 4_000_000, 8),
        ceilings="matrix product of numpy 2.4.6",
        peak_rss_bytes=512 * 2**20,
        rounds=(make_round(),),
    )

    def make(**changes: Any) -> Bench:
        return replace(known, **changes)

    return make


def double(name: str) -> ModuleType:
    """Import a double of the GPU's tests."""
    return imported(Path(__file__).parents[1] / "gpu" / f"{name}.py")


@pytest.fixture
def numpy_device() -> Any:
    """Return a GPU that does nothing before it must."""
    return double("numpy_device").NumpyDevice()


@pytest.fixture
def device_runner() -> Any:
    """Return the class of a network on that GPU."""
    return double("device_network").FakeDeviceRunner
