"""From a run to an air-gapped folder, with a pip that only pretends: one package in it, nothing beside it."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dmn_export import pipeline
from dmn_export.airgap import folder as folder_module
from dmn_export.airgap import from_run
from dmn_export.airgap.from_run import export_air_gapped
from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes
from dmn_export.onnx_export import export_onnx
from dmn_export.pipeline import Wishes, export_run
from dmn_export.receptive import Reach
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.contract import PackagedPlan
from dmn_runtime.errors import EngineError, OutputError
from dmn_runtime.package import Package, open_package
from dmn_runtime.trt.targets import Targets
from dmn_train.run import Run, load_run

FakePip = Any  # of conftest.py, which is no module to import from
FP32 = Wishes(precisions=("fp32",))


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return load_run(run_folder)


@pytest.fixture(scope="module")
def network(run: Run) -> bytes:
    return export_onnx(run.network(), run.spec.in_channels, 4)


@pytest.fixture(autouse=True)
def quick(network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests what tests of the exporter do: small tiles, one network for all, nothing timed."""
    monkeypatch.setattr(pipeline, "export_onnx", lambda *_: network)
    monkeypatch.setattr(pipeline, "TILE_PX", 32)
    monkeypatch.setattr(pipeline, "GOLDEN_TILES", 2)
    monkeypatch.setattr(pipeline, "CALIBRATION_TILES", 2)
    monkeypatch.setattr(pipeline, "measure_reach", lambda *_: Reach(4, 28, 26))
    monkeypatch.setattr(
        from_run, "export_run", partial(export_run, timer=lambda runners, *_: dict.fromkeys(runners, 1e6))
    )


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the export a folder of its own for temporary files, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "pc"


@pytest.fixture
def pretend(pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """Put the pretending pip in the place of the real one."""
    monkeypatch.setattr(from_run, "write_folder", partial(folder_module.write_folder, run=pip))
    return pip


@pytest.fixture
def with_gpu(here: Here, pretend: FakePip) -> AirGapWishes:
    """Return wishes for two families, and let the pretending pip know what they bring."""
    for wheels in pretend.brings.values():
        for name, metadata in wheels.items():
            if name.startswith("dmn_em"):
                wheels[name] = (*metadata, "Provides-Extra: gpu", "Provides-Extra: tensorrt-rtx")
    engines = (*here.engines, ("tensorrt-rtx-cu13", "1.7.1.116"))
    pretend.brings["wheel --no-deps --wheel-dir .build tensorrt-rtx"] = {
        "tensorrt_rtx_cu13-1.7.1.116-py3-none-any.whl": ()
    }
    for system in ("manylinux_2_28_x86_64", "win_amd64"):
        pretend.brings[f"--platform {system}"]["tensorrt_rtx_cu13-1.7.1.116-py3-none-any.whl"] = ()
    return AirGapWishes(replace(here, engines=engines), gpu_families=("rtx30", "rtx40"))


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Targets]]:
    """Let engines be a few bytes; return the (precision, targets) that were built."""
    done: list[tuple[str, Targets]] = []

    def built(request: Any, precision: str, targets: Targets, say: Any) -> tuple[PackagedPlan, bytes]:
        done.append((precision, targets))
        member = f"plans/rtx-{precision}-{targets.platform}.plan"
        shape = (1, 3, 64, 64)
        plan = PackagedPlan(
            member,
            precision,
            "tensorrt_rtx",
            "1.7.1.116",
            targets.compute_capabilities,
            targets.platform,
            shape,
            shape,
            shape,
        )
        return plan, member.encode()

    monkeypatch.setattr("dmn_runtime.trt.package_build._built", built)
    return done


def beside(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir())


@pytest.mark.usefixtures("pretend")
def test_the_folder_holds_the_package_that_is_returned(run: Run, place: Path, here: Here) -> None:
    said: list[str] = []
    exported = export_air_gapped(run, place, FP32, AirGapWishes(here), said.append)
    package = open_package(place / "pc.zip")
    assert exported.refused == ()
    assert exported.package == package
    assert list(package.contract.precisions) == ["fp32"]
    assert package.contract.plans == ()
    assert beside(place) == ["pc"]
    assert {"README.md", "SHA256SUMS", "install.bat", "install.sh", "wheels"} <= {
        path.name for path in place.iterdir()
    }
    assert said[0] == "measuring stride and halo"
    assert said[-1].startswith(f"{place}: ")


def test_every_system_gets_engines_of_every_family_once(
    run: Run, place: Path, with_gpu: AirGapWishes, builds: list[tuple[str, Targets]]
) -> None:
    twice = replace(
        with_gpu,
        platforms=("linux", "windows", "linux"),
        gpu_families=("rtx30", "rtx40", "rtx30"),
    )
    exported = export_air_gapped(run, place, FP32, twice, lambda _: None)
    families = ("SM86", "SM89")
    assert builds == [
        ("fp32", Targets(families, "linux_x86_64")),
        ("fp32", Targets(families, "windows_x86_64")),
    ]
    package = open_package(place / "pc.zip")
    assert exported.package == package
    assert [(plan.platform, plan.targets) for plan in package.contract.plans] == [
        ("linux_x86_64", families),
        ("windows_x86_64", families),
    ]
    for plan in package.contract.plans:
        assert package.read_member(plan.member) == plan.member.encode()
    assert "weights.onnx" in package.contract.members
    assert beside(place) == ["pc"]


def test_engines_are_built_by_tensorrt_rtx_without_a_gpu(
    run: Run, place: Path, with_gpu: AirGapWishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = pytest.importorskip(
        "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: pip install it to build plans"
    )
    monkeypatch.setattr(folder_module, "_check_engines", lambda *_: None)  # whatever version is installed
    wishes = replace(with_gpu, platforms=("windows",))
    export_air_gapped(run, place, FP32, wishes, lambda _: None)
    (plan,) = open_package(place / "pc.zip").contract.plans
    assert (plan.platform, plan.targets) == ("windows_x86_64", ("SM86", "SM89"))
    assert (plan.library, plan.precision) == ("tensorrt_rtx", "fp32")
    assert plan.library_version == rtx.__version__
    assert beside(place) == ["pc"]


@pytest.mark.parametrize("families", [("rtx99",), ("rtx40", "rtx99")])
def test_a_family_that_there_is_none_of_is_refused_before_anything_is_exported(
    run: Run, place: Path, with_gpu: AirGapWishes, families: tuple[str, ...]
) -> None:
    said: list[str] = []
    with pytest.raises(EngineError, match="'rtx99' is no target"):
        export_air_gapped(run, place, FP32, replace(with_gpu, gpu_families=families), said.append)
    assert said == []
    assert beside(place) == []


def test_where_pip_fails_no_folder_is_left(run: Run, place: Path, here: Here, pretend: FakePip) -> None:
    pretend.fails_at = "win_amd64"
    with pytest.raises(OutputError, match="pip did not bring"):
        export_air_gapped(run, place, FP32, AirGapWishes(here), lambda _: None)
    assert pretend.calls
    assert beside(place) == []


def test_where_an_engine_cannot_be_built_pip_is_not_asked_and_no_folder_is_left(
    run: Run,
    place: Path,
    with_gpu: AirGapWishes,
    pretend: FakePip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(request: Any, precision: str, targets: Targets, say: Any) -> tuple[PackagedPlan, bytes]:
        raise EngineError("the builder refuses the network")

    monkeypatch.setattr("dmn_runtime.trt.package_build._built", failing)
    with pytest.raises(EngineError, match="the builder refuses"):
        export_air_gapped(run, place, FP32, with_gpu, lambda _: None)
    assert pretend.calls == []
    assert beside(place) == []


def test_an_existing_folder_is_refused_before_anything_is_exported(run: Run, place: Path, here: Here) -> None:
    place.mkdir()
    said: list[str] = []
    with pytest.raises(OutputError, match="exists already"):
        export_air_gapped(run, place, FP32, AirGapWishes(here), said.append)
    assert said == []


@pytest.mark.usefixtures("pretend")
def test_pictures_of_what_is_refused_stand_beside_the_folder(
    run: Run, place: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "fp16", Tolerance(0.0, 0.0))
    wishes = Wishes(precisions=("fp32", "fp16"))
    exported = export_air_gapped(run, place, wishes, AirGapWishes(here), lambda _: None)
    picture = place.with_name("pc.worst-fp16-cpu.png")
    assert exported.refused[0].endswith(f" ({picture} shows it)")
    assert beside(place) == ["pc", picture.name]
    assert isinstance(exported.package, Package)
