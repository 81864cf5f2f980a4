"""`dmn bench`: one small run for its structure, and what it refuses."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.bench import measure
from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.product import Ceiling
from dmn_runtime.bench.rounds import Ceilings
from dmn_runtime.bench.wording import WORDINGS
from dmn_runtime.cli import main

Package = Callable[..., Path]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a small volume with a voxel size."""
    path = tmp_path / "own.ome.tif"
    metadata = {"axes": "ZYX"}
    for axis, nm in zip("ZYX", (50.0, 5.0, 5.0), strict=True):
        metadata |= {f"PhysicalSize{axis}": nm, f"PhysicalSize{axis}Unit": "nm"}
    voxels = np.random.default_rng(5).integers(0, 256, (3, 60, 90)).astype(np.uint8)
    tifffile.imwrite(path, voxels, ome=True, metadata=metadata, photometric="minisblack")
    return path


@pytest.fixture
def ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put round numbers in the place of the machine's ceilings, which take a process of their own."""
    tools = measure.Tools(
        ceilings=lambda _: Ceilings(8e9, 5e9, 1e10), product=lambda *_: Ceiling(2e10, "products by a fake")
    )
    monkeypatch.setattr(measure, "Tools", lambda: tools)
    monkeypatch.setattr(measure, "QUICK_WINDOW_S", 0.0)


@pytest.mark.usefixtures("ceilings")
def test_a_quick_bench(
    small_package: Package,
    volume: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    package, path = small_package(working_nm=10.0), tmp_path / "b.json"
    words = [
        "bench",
        str(package),
        str(volume),
        "--quick",
        "--engine",
        "cpu",
        "--workers",
        "2",
        "--block",
        "2,16,16",
    ]
    assert main([*words, "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "volume    own.ome.tif, 3 x 60 x 90 voxels (zyx), uint8, 50 x 5 x 5 nm, resampled to 10 nm" in out
    assert (
        f"ceilings: copy by numpy {np.__version__}; the engine's product: products by a fake; matrix" in out
    )
    document = json.loads(path.read_text())
    assert document["quick"] is True
    assert len(document["rounds"]) == 1
    assert document["extent"]["voxels"] == 3 * 60 * 90
    assert document["extent"]["tiles"] == document["plan"]["tiles"] > 3
    unstated = {"network_macs_per_s", "network_percent_of_engine_matmul", "network_percent_of_matmul"}
    assert set(document["figures"]) == set(WORDINGS) - unstated
    assert {stage["name"] for stage in document["stages"]} >= {"read", "resample", "network", "write"}
    assert document["engine"]["engine"] == document["engine"]["asked_engine"] == "cpu"
    assert main([*words, "--rounds", "2", "--compare", str(path)]) == 0
    again = capsys.readouterr().out
    assert f"against {path}" in again
    assert "not measured alike" not in again
    assert "2 rounds" in again
    assert list(temporary.iterdir()) == []


def test_numpy_s_product_stands_in_for_the_engine_s(
    small_package: Package, volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> Ceiling:
        raise CeilingFault("it is not there")

    tools = measure.Tools(ceilings=lambda _: Ceilings(8e9, 5e9, 1e10), product=refuse)
    monkeypatch.setattr(measure, "Tools", lambda: tools)
    monkeypatch.setattr(measure, "QUICK_WINDOW_S", 0.0)
    words = ["--quick", "--engine", "cpu", "--workers", "2", "--precision", "fp32"]
    assert main(["bench", str(small_package()), str(volume), *words]) == 0
    told = capsys.readouterr()
    assert (
        f"ceilings: copy by numpy {np.__version__}; matrix product of numpy {np.__version__} with" in told.out
    )
    assert "warning: the engine's matrix product cannot be measured: it is not there" in told.out + told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "--rounds 0 measures nothing: give at least 1"),
        (["--workers", "0"], "--workers 0 cannot work: give at least 1"),
        (["--block", "1,2"], "--block 1,2: wanted three whole numbers"),
        (["--voxel-nm", "0,1,1"], "--voxel-nm 0,1,1: wanted lengths in nm above 0"),
        (["--engine", "fast"], "there is no engine 'fast'"),
        (["--compare", "absent.json"], "absent.json cannot be read"),
        (["--json", "absent/b.json"], "is a folder or lies in none: name a file in a folder that exists"),
    ],
)
def test_what_makes_no_sense_is_refused(
    small_package: Package, volume: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(small_package()), str(volume), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_volume_that_is_not_there(small_package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(small_package()), "absent.tif"]) == 2
    assert "absent.tif" in capsys.readouterr().err
