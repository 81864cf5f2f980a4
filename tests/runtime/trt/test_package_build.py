"""Building the plans of a package: real ones into a copy for other GPUs, and what the cache is asked here."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.archive import write_archive
from dmn_runtime.contract import Precision
from dmn_runtime.engine_cache.store import Obtained
from dmn_runtime.engines import tensorrt
from dmn_runtime.engines.catalogue import Order
from dmn_runtime.engines.tensorrt import engine_key, plan_from_cache, plan_from_package
from dmn_runtime.errors import EngineError, OutputError, UsageError
from dmn_runtime.gpu.inquiry import Gpu
from dmn_runtime.package import Package, open_package
from dmn_runtime.plan import BLOCK_SLICES
from dmn_runtime.trt import package_build
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.package_build import Request, build_for_others, build_here, precisions_of
from dmn_runtime.trt.package_plans import job_for, packaged_plan, profile_for
from dmn_runtime.trt.plan_header import read_header
from dmn_runtime.trt.profile import fixed_profile
from dmn_runtime.trt.targets import LINUX, WINDOWS, Targets, this_platform

GPU = Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", 16 * 2**30)
EDGE_PX = 64 + 2 * 6


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let a child find the package as this process did, and give each test a cache of its own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def package(small_package: Callable[..., Path]) -> Package:
    return open_package(small_package())


@pytest.fixture
def request_of(package: Package) -> Callable[..., Request]:
    def make(**changes: Any) -> Request:
        return replace(Request(package, "tensorrt_rtx", tile_px=64, batch=2), **changes)

    return make


@pytest.fixture
def several(package: Package, tmp_path: Path) -> Package:
    """Return a package that says to hold more precisions, all of them the one network."""
    contract = package.contract
    fp32 = contract.precisions["fp32"]
    names = ("fp32", "fp16", "int8", "int8-trt")
    members = {name: package.read_member(name) for name in contract.members}
    precisions = {name: Precision("weights.onnx", fp32.certificates) for name in names}
    return write_archive(tmp_path / "several.zip", replace(contract, precisions=precisions), members)


def in_package(plans: Any, library: Library, gpu: str, edge_px: int = EDGE_PX, platform: str = LINUX) -> Any:
    return packaged_plan(plans, "tensorrt_rtx", library.version, "fp32", platform, gpu, edge_px)


def test_a_copy_for_other_gpus_carries_plans_for_these_alone(
    request_of: Callable[..., Request], package: Package, tmp_path: Path, rtx: Library
) -> None:
    said: list[str] = []
    output = tmp_path / "with.zip"
    lines = build_for_others(request_of(), "rtx30,rtx40,linux", output, said.append)
    written = open_package(output)
    [plan] = written.contract.plans
    assert in_package(written.contract.plans, rtx, "8.6") == plan
    assert in_package(written.contract.plans, rtx, "8.9") == plan
    for gpu in ("7.5", "8.0", "9.0", "12.0"):
        assert in_package(written.contract.plans, rtx, gpu) is None
    assert in_package(written.contract.plans, rtx, "8.6", EDGE_PX + 2) is None
    assert in_package(written.contract.plans, rtx, "8.6", platform=WINDOWS) is None
    content = written.read_member(plan.member)
    assert read_header(content).version == rtx.version
    assert (plan.least, plan.most) == ((1, 1, EDGE_PX, EDGE_PX), (2, 1, EDGE_PX, EDGE_PX))
    assert written.network() == package.network()
    assert replace(written.contract, plans=(), members={}) == replace(package.contract, members={})
    assert said == ["building tensorrt_rtx fp32 for SM86, SM89 on linux_x86_64"]
    assert lines[0] == f"tensorrt_rtx fp32 for SM86, SM89 on linux_x86_64: {len(content) / 1e6:.2f} MB"
    assert lines[1].startswith(f"{output}: ")
    assert f"sha256 {written.sha256[:12]}" in lines[1]
    assert lines[1].endswith(f"they run on tensorrt_rtx {rtx.version} and no other version")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["with.zip"]


def test_the_plan_of_the_package_is_what_its_gpu_loads(
    request_of: Callable[..., Request], tmp_path: Path, rtx: Library
) -> None:
    build_for_others(
        request_of(dynamic=True), f"rtx30,{this_platform().split('_')[0]}", tmp_path / "a.zip", print
    )
    written = open_package(tmp_path / "a.zip")
    [plan] = written.contract.plans
    assert (plan.least, plan.most) == ((1, 1, 2, 2), (2, 1, EDGE_PX, EDGE_PX))
    order = Order(written, "fp32", 1, EDGE_PX, 2, print)
    assert plan_from_package(order, rtx, GPU) == written.read_member(plan.member)
    assert plan_from_package(order, rtx, replace(GPU, compute_capability="12.0")) is None
    assert plan_from_package(order, rtx, replace(GPU, compute_capability=None)) is None
    assert plan_from_package(order, replace(rtx, version="0.1"), GPU) is None
    assert plan_from_package(replace(order, edge_px=EDGE_PX + 2), rtx, GPU) is None


def test_more_plans_stand_beside_the_first_and_the_same_are_replaced(
    request_of: Callable[..., Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Library
) -> None:
    builds: list[BuildJob] = []

    def build(job: BuildJob, network: bytes, path: Path, device: str | None, progress: object) -> None:
        assert (device, callable(progress)) == (None, True)
        builds.append(job)
        path.write_bytes(b"plan %d of %d bytes" % (len(builds), len(network)))

    monkeypatch.setattr(package_build, "build_in_child", build)
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    build_for_others(request_of(), "rtx30,windows", first, print)
    lines = build_for_others(request_of(package=open_package(first)), "rtx50,windows,rtx50", second, print)
    assert lines[:2] == [
        f"tensorrt_rtx fp32 for SM86 on windows_x86_64: 0.00 MB, carried over from {first}",
        "tensorrt_rtx fp32 for SM120 on windows_x86_64: 0.00 MB",
    ]
    assert "; those built now run on tensorrt_rtx " in lines[2]
    kept = open_package(second).contract.plans
    assert [plan.targets for plan in kept] == [("SM86",), ("SM120",)]
    lines = build_for_others(
        request_of(package=open_package(second)), "rtx30,windows", second, print, overwrite=True
    )
    assert [line.partition(" MB")[2] for line in lines[:2]] == [f", carried over from {second}", ""]
    written = open_package(second)
    assert [plan.targets for plan in written.contract.plans] == [("SM120",), ("SM86",)]
    assert [written.read_member(plan.member)[:6] for plan in written.contract.plans] == [b"plan 2", b"plan 3"]
    assert {job.platform for job in builds} == {WINDOWS}
    assert {job.profile for job in builds} == {fixed_profile(1, EDGE_PX, 2)}
    assert in_package(written.contract.plans, rtx, "12.0", platform=WINDOWS) is not None


def test_a_build_that_fails_leaves_no_package(
    request_of: Callable[..., Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Library
) -> None:
    del rtx

    def build(*_: object) -> None:
        raise EngineError("the library returned no engine")

    monkeypatch.setattr(package_build, "build_in_child", build)
    with pytest.raises(EngineError, match="returned no engine"):
        build_for_others(request_of(), "rtx30", tmp_path / "a.zip", print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("targets", "output", "kind", "said"),
    [
        ("linux", "a.zip", UsageError, "--for linux names no GPU: add rtx20"),
        ("gtx10", "a.zip", EngineError, "'gtx10' is no target: --for takes rtx20"),
        ("linux,windows,rtx30", "a.zip", EngineError, "one build is for one operating system"),
        ("rtx30", "a.plan", OutputError, "does not end in .zip"),
        ("rtx30", "nowhere/a.zip", OutputError, "does not exist: make it first"),
        ("rtx30", "there.zip", OutputError, "exists already"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_before_a_build(
    request_of: Callable[..., Request],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    targets: str,
    output: str,
    kind: type[Exception],
    said: str,
) -> None:
    monkeypatch.setattr(package_build, "build_in_child", lambda *_: pytest.fail("it was built"))
    (tmp_path / "there.zip").write_bytes(b"")
    with pytest.raises(kind) as caught:
        build_for_others(request_of(), targets, tmp_path / output, print)
    assert said in str(caught.value)


def test_all_precisions_that_the_library_runs_in_its_order(several: Package) -> None:
    request = Request(several, "tensorrt_rtx")
    assert precisions_of(request) == ("fp16", "int8-trt", "fp32")
    assert precisions_of(replace(request, precisions=("fp32", "fp16"))) == ("fp32", "fp16")
    assert precisions_of(replace(request, precisions=("fp32", "fp16", "fp32"))) == ("fp32", "fp16")
    for name in ("int8", "bf16", ""):
        with pytest.raises(
            UsageError, match=f"cannot build '{name}' of .*--precision takes fp16, int8-trt, fp32"
        ):
            precisions_of(replace(request, precisions=("fp32", name)))


def test_here_each_engine_is_a_line(several: Package, monkeypatch: pytest.MonkeyPatch, rtx: Library) -> None:
    asked: list[tuple[str, Gpu, int, int]] = []
    answers = iter(
        [
            Obtained(bytes(1_230_000), "cached", "it is there"),
            Obtained(bytes(10_000), "rebuilt", "the driver changed"),
            Obtained(bytes(20_000), "unkept", "the cache cannot be written"),
        ]
    )

    def from_cache(order: Order, library: Library, gpu: Gpu, *, progress: object) -> Obtained:
        assert library.word == rtx.word
        assert callable(progress)
        asked.append((order.precision, gpu, order.edge_px, order.batch))
        return next(answers)

    monkeypatch.setattr(package_build, "plan_from_cache", from_cache)
    monkeypatch.setattr(package_build, "first_gpu", lambda: GPU)
    lines = build_here(Request(several, "tensorrt_rtx", tile_px=64), print)
    assert lines == [
        "tensorrt_rtx fp16 for NVIDIA RTX A4000, 8.6: cached, 1.23 MB",
        "tensorrt_rtx int8-trt for NVIDIA RTX A4000, 8.6: rebuilt, 0.01 MB (the driver changed)",
        "tensorrt_rtx fp32 for NVIDIA RTX A4000, 8.6: unkept, 0.02 MB (the cache cannot be written)",
    ]
    assert asked == [(name, GPU, EDGE_PX, BLOCK_SLICES) for name in ("fp16", "int8-trt", "fp32")]


def test_without_a_gpu_the_way_on_is_said(
    request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch, rtx: Library
) -> None:
    del rtx
    monkeypatch.setattr(tensorrt, "visible_gpus", lambda: ())
    with pytest.raises(EngineError) as caught:
        build_here(request_of(), print)
    assert str(caught.value) == (
        "no NVIDIA driver answers on this machine: dmn build takes other GPUs with --for, dmn infer runs on "
        "the processor with --engine auto"
    )


def test_the_cache_is_filled_once(package: Package, monkeypatch: pytest.MonkeyPatch, rtx: Library) -> None:
    builds: list[tuple[BuildJob, str]] = []
    said: list[str] = []

    def build(job: BuildJob, network: bytes, path: Path, device: str, progress: object) -> None:
        del network, progress
        builds.append((job, device))
        path.write_bytes(b"a plan of this GPU" * 100)

    monkeypatch.setattr(tensorrt, "build_in_child", build)
    monkeypatch.setattr(tensorrt, "check_plan", lambda *_: None)
    order = Order(package, "fp32", 4, EDGE_PX, 2, said.append)
    first = plan_from_cache(order, rtx, GPU)
    again = plan_from_cache(order, rtx, GPU)
    assert (first.how, again.how, first.plan) == ("built", "cached", again.plan)
    [(job, device)] = builds
    assert (job.compute_capabilities, job.contexts, device) == ((), 2, "GPU-1")
    assert said == ["building the tensorrt_rtx engine in fp32 for NVIDIA RTX A4000"]
    plan_from_cache(order, rtx, replace(GPU, driver_version="590.01"))
    plan_from_cache(replace(order, edge_px=EDGE_PX + 2), rtx, GPU)
    assert len(builds) == 3


def test_everything_that_matters_is_in_the_key(package: Package, rtx: Library) -> None:
    profile = profile_for(package.contract, EDGE_PX, 2, dynamic=False)
    here = Targets((), this_platform())

    def key(**changes: Any) -> str:
        known: dict[str, Any] = {
            "job": job_for("tensorrt_rtx", "fp32", profile, here),
            "network": b"a network",
            "library": rtx,
            "gpu": GPU,
        }
        return engine_key(**(known | changes)).digest

    others = [
        key(job=job_for("tensorrt_rtx", "fp16", profile, here)),
        key(job=replace(job_for("tensorrt_rtx", "fp32", profile, here), contexts=3)),
        key(job=job_for("tensorrt_rtx", "fp32", fixed_profile(1, EDGE_PX, 3), here)),
        key(job=replace(job_for("tensorrt_rtx", "fp32", profile, here), optimisation_level=5)),
        key(network=b"another network"),
        key(library=replace(rtx, version="0.1")),
        key(gpu=replace(GPU, driver_version="590.01")),
        key(gpu=replace(GPU, name="NVIDIA H100")),
        key(gpu=replace(GPU, compute_capability="9.0")),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert key(gpu=replace(GPU, uuid="GPU-2", memory_bytes=None)) == key()
