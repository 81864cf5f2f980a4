"""TensorRT as an engine: whose plan is loaded, which is built, what is said: on doubles of both."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmn_runtime.archive import write_archive
from dmn_runtime.engines import tensorrt
from dmn_runtime.engines.catalogue import Order
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.engines.tensorrt import first_gpu, gpu_of, open_tensorrt
from dmn_runtime.errors import EngineError, GpuMemoryError, ResumeError
from dmn_runtime.gpu import open as opening
from dmn_runtime.gpu.inquiry import Gpu
from dmn_runtime.package import Package, open_package
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.package_plans import described, job_for, profile_for
from dmn_runtime.trt.targets import Targets, this_platform

EDGE_PX, BATCH = 32 + 2 * 6, 2
FIRST = Gpu("NVIDIA H100", "GPU-00000000-1111-2222-3333-444455556666", "581.15", "9.0", None)
GPU = Gpu("NVIDIA RTX A4000", "GPU-5f1e0c2a-1111-2222-3333-444455556666", "581.15", "8.6", None)
BUILDING = "building the tensorrt engine in fp32 for NVIDIA RTX A4000"


@dataclass
class Machine:
    """The doubles, and what was asked of them."""

    device: Any
    plan: Callable[..., bytes]
    cache: Path
    builds: list[tuple[BuildJob, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def build(self, job: BuildJob, network: bytes, path: Path, uuid: str, progress: object) -> None:
        assert callable(progress)
        self.builds.append((job, uuid))
        path.write_bytes(self.plan_for(job, network))

    def plan_for(self, job: BuildJob, network: bytes, **changes: str) -> bytes:
        """Return a plan for the GPU as it now is."""
        plan: bytes = self.plan(network, job.profile, contexts=job.contexts, **changes)
        return plan.replace(b'"gpu": "8.6"', b'"gpu": "%s"' % self.device.compute_capability.encode())

    def open(self, package: Package, **changes: Any) -> Any:
        order = Order(package, "fp32", 3, EDGE_PX, BATCH, self.said.append)
        return open_tensorrt("tensorrt", replace(order, **changes))


@pytest.fixture
def machine(
    numpy_device: Any,
    fake_library: Library,
    fake_plan: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    """Return a machine whose second GPU, for nvidia-smi, is the first, for CUDA."""
    machine = Machine(numpy_device, fake_plan, tmp_path / "cache")

    def open_device() -> Any:
        numpy_device.make_current()
        return numpy_device

    monkeypatch.setenv("DMN_CACHE_DIR", str(machine.cache))
    monkeypatch.setattr(tensorrt, "load_library", {"tensorrt": fake_library}.__getitem__)
    monkeypatch.setattr(tensorrt, "visible_gpus", lambda: (FIRST, GPU))
    monkeypatch.setattr(tensorrt, "build_in_child", machine.build)
    monkeypatch.setattr(opening, "open_device", open_device)
    return machine


@pytest.fixture
def package(small_package: Callable[..., Path]) -> Package:
    return open_package(small_package())


def with_plan(package: Package, machine: Machine, path: Path, **changes: str) -> tuple[Package, bytes]:
    """Return a copy of a package that carries a plan for this GPU, and the plan."""
    contract = package.contract
    profile = profile_for(contract, EDGE_PX, BATCH, dynamic=False)
    job = job_for("tensorrt", "fp32", profile, Targets(("SM86",), this_platform()))
    about = described(job, "11.4.0.106")
    plan = machine.plan_for(job, package.network(), **changes)
    members = {name: package.read_member(name) for name in contract.members} | {about.member: plan}
    return write_archive(path, replace(contract, plans=(about,)), members), plan


def digest(plan: bytes) -> str:
    return f", fp32, plan {hashlib.sha256(plan).hexdigest()[:12]}"


def tiles() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(3, 1, EDGE_PX, EDGE_PX)).astype(np.float32)


def check_logits(runner: Any, package: Package) -> None:
    np.testing.assert_allclose(
        runner.run(tiles()), open_cpu(package.network()).run(tiles()), rtol=0, atol=1e-5
    )


def test_the_packages_own_plan_is_loaded_and_nothing_is_built(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    package, plan = with_plan(package, machine, tmp_path / "with.zip")
    runner = machine.open(package)
    check_logits(runner, package)
    runner.close()
    assert (machine.builds, machine.said, machine.cache.exists()) == ([], [], False)
    assert runner.description == "TensorRT 11.4.0.106, NumPy, 8.6" + digest(plan)


def test_a_plan_of_the_package_that_is_refused_is_said_and_another_built(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    package, plan = with_plan(package, machine, tmp_path / "with.zip", version="11.3.0.1")
    runner = machine.open(package)
    check_logits(runner, package)
    runner.close()
    refused, building = machine.said
    assert refused.startswith(
        "the package's own tensorrt engine is not used: the plan was built by another version, says TensorRT"
    )
    assert building == BUILDING
    assert len(machine.builds) == 1
    assert not runner.description.endswith(digest(plan))
    assert machine.open(package).description == runner.description
    assert len(machine.builds) == 1
    assert machine.said[2:] == [refused]  # every time


def test_a_plan_for_another_gpu_of_the_package_is_not_tried(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    package, _ = with_plan(package, machine, tmp_path / "with.zip")
    machine.device.uuid = FIRST.uuid  # CUDA writes it with or without its first letters
    machine.device.compute_capability = "9.0"
    machine.open(package).close()
    assert machine.said == ["building the tensorrt engine in fp32 for NVIDIA H100"]


def test_the_plan_is_built_once_for_the_gpu_that_cuda_gives(machine: Machine, package: Package) -> None:
    first, second = machine.open(package), machine.open(package)
    [(job, uuid)] = machine.builds
    assert uuid == GPU.uuid
    assert (job.compute_capabilities, job.contexts) == ((), 2)
    assert job.profile.most == (BATCH, 1, EDGE_PX, EDGE_PX)
    assert machine.said == [BUILDING]
    assert first.description == second.description
    check_logits(second, package)
    for runner in (first, second):
        runner.close()
    assert (machine.device.memory, machine.device.streams) == ({}, {})


def test_a_cached_plan_that_the_library_refuses_is_built_once_more_and_said(
    machine: Machine, package: Package
) -> None:
    before = machine.open(package).description
    machine.device.compute_capability = "12.0"  # whatever the driver's program says of it
    machine.said.clear()
    runner = machine.open(package)
    check_logits(runner, package)
    assert runner.description != before
    building, rebuilt = machine.said
    assert building == BUILDING
    assert rebuilt.startswith(
        "tensorrt fp32: the cached engine is not used: tensorrt refuses it (the plan was built for another"
    )
    machine.said.clear()
    assert machine.open(package).description == runner.description
    assert (machine.said, len(machine.builds)) == ([], 2)


def test_a_plan_just_built_that_the_library_refuses_is_not_built_for_ever(
    machine: Machine, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "plan_for", lambda *_: b"no plan" * 1000)
    with pytest.raises(
        EngineError, match=r"the engine just built of small .* is refused: the plan is damaged"
    ):
        machine.open(package)
    assert len(machine.builds) == 1


def test_a_plan_that_cannot_be_kept_is_said_and_runs(machine: Machine, package: Package) -> None:
    machine.cache.mkdir()
    (machine.cache / "engines").write_text("no folder")
    check_logits(machine.open(package), package)
    building, unkept = machine.said
    assert building == BUILDING
    assert unkept.startswith("tensorrt fp32: the engine cache has none; this one is not kept, since ")


@pytest.mark.parametrize("written", [GPU.uuid, GPU.uuid.removeprefix("GPU-")])
def test_the_gpu_is_the_one_that_cuda_names(machine: Machine, written: str) -> None:
    machine.device.uuid = written
    assert gpu_of(written) == GPU
    assert first_gpu() == GPU


def test_a_gpu_that_the_driver_does_not_know(machine: Machine, package: Package) -> None:
    machine.device.uuid = "MIG-1"
    for ask in (first_gpu, lambda: machine.open(package)):
        with pytest.raises(EngineError, match="nvidia-smi does not know the GPU MIG-1 that CUDA gives"):
            ask()
    assert machine.builds == []


def test_memory_that_is_short_halves_the_batch_aloud(machine: Machine, package: Package) -> None:
    machine.device.refusals["device_memory"] = [GpuMemoryError("the GPU is full")]
    runner = machine.open(package)
    check_logits(runner, package)
    runner.close()
    assert [job.profile.most[0] for job, _ in machine.builds] == [BATCH, BATCH // 2]
    assert "tensorrt fp32: the GPU is full; goes on with batches of 1" in machine.said


def test_a_resumed_run_is_given_the_batch_that_it_was_begun_with(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    begun = machine.open(package, batch=BATCH // 2)  # where memory was short
    package, plan = with_plan(package, machine, tmp_path / "with.zip")
    assert machine.open(package).description.endswith(digest(plan))
    again = machine.open(package, batch=BATCH // 2, exactly=True)
    assert again.description == begun.description
    assert len(machine.builds) == 1
    assert machine.open(package, batch=BATCH, exactly=True).description.endswith(digest(plan))


def test_a_resumed_run_without_memory_for_its_batch_says_so(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    packaged, _ = with_plan(package, machine, tmp_path / "with.zip")
    for one in (package, packaged):
        machine.device.refusals["device_memory"] = [GpuMemoryError("the GPU is full")]
        with pytest.raises(ResumeError) as refused:
            machine.open(one, exactly=True)
        assert str(refused.value).startswith(
            f"the GPU is full, and this run was begun with batches of {BATCH} tiles of {EDGE_PX} px, "
        )
        machine.device.check_empty()
    assert len(machine.builds) == 1


def test_a_plan_of_the_package_for_larger_tiles_serves_all_but_a_resumed_run(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    package, plan = with_plan(package, machine, tmp_path / "with.zip")
    smaller = EDGE_PX - package.contract.stride_px
    assert machine.open(package, edge_px=smaller).description.endswith(digest(plan))
    assert not machine.open(package, edge_px=smaller, exactly=True).description.endswith(digest(plan))
