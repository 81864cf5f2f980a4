"""`dmn budget`: what it prints of an earlier bench, one small run for its structure, what it refuses."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.bench import measure
from dmn_runtime.bench.product import Ceiling
from dmn_runtime.bench.result import Bench, EngineFacts, VolumeFacts, write_bench
from dmn_runtime.bench.rounds import Ceilings, EndToEnd, Extent, Rate, Round
from dmn_runtime.cli import main
from dmn_runtime.machine import machine_facts
from dmn_runtime.package import open_package
from dmn_runtime.report import PackageFacts, PlanFacts
from dmn_runtime.stream import threads_for

Package = Callable[..., Path]


@pytest.fixture
def package(small_package: Package) -> Path:
    """Return a package."""
    return small_package()


@pytest.fixture
def bench(package: Path) -> Bench:
    """Return a bench of the package on this machine: 4 Mvoxel/s end to end, the network being the limit."""
    busy_s = {"read": 5.0, "gather": 1.0, "network": 35.0, "scatter": 1.0, "assemble": 1.0, "write": 5.0}
    whole = EndToEnd(80_000_000, 20.0, 0.1, busy_s, {"segment": 1.0, "write": 0.1})
    return Bench(
        measured="2026-11-20T10:00:00+00:00",
        quick=False,
        machine=machine_facts(),
        gpus=(),
        versions={"dmn": "0.1.0"},
        load_average=None,
        package=PackageFacts("small", open_package(package).sha256, None),
        multiply_adds_per_px=None,
        engine=EngineFacts(
            "cpu", "fp32", False, "fp32 by onnxruntime 1.31.1", "the only one", "auto", "auto"
        ),
        volume=VolumeFacts("own.tif", "TIFF", (80, 1000, 1000), "uint8", None, None, "f"),
        plan=PlanFacts((8, 1024, 1024), (1, 1024, 1024), 6, 2, 1, 8),
        workers=2,
        threads=threads_for(2),
        extent=Extent(80_000_000, 82_000_000, 80),
        ceilings="numpy 2.4.6",
        peak_rss_bytes=None,
        rounds=(Round(18.0, Rate(1e9, 5e9), Rate(1e9, 5e9), whole, None),),
    )


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no GPU answer."""
    monkeypatch.setattr("dmn_runtime.gpu.inquiry.visible_gpus", lambda: ())


def test_the_verdicts_of_an_earlier_bench(
    package: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bench(tmp_path / "b.json", bench)
    assert main(["budget", str(package), "--from", str(tmp_path / "b.json")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[:3] == [
        "small, fp32 by onnxruntime 1.31.1, 2 workers",
        "on own.tif, 80 x 1000 x 1000 voxels (zyx), uint8",
        "end to end 4.00 Mvoxel/s of the volume's own voxels",
    ]
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[4:10]]
    assert rows == [
        ["acquisition", "Mvoxel/s", "this machine", "behind after 24 h", "verdict"],
        ["FIB-SEM, the median", "0.15", "26.7 x", "-", "keeps up"],
        ["FIB-SEM, the fastest", "3.10", "1.29 x", "-", "keeps up"],
        ["single-beam SEM, 100 ns dwell", "10.00", "0.4 x", "36.0 h", "lags"],
        ["multi-beam SEM", "280.00", "0.0143 x", "1656.0 h", "lags"],
        ["beam-deflection TEM", "300.00", "0.0133 x", "1776.0 h", "lags"],
    ]
    assert lines[11] == "limit: the network (88 % of the time of its threads)"
    assert lines[12] == "what would mend the lag:"


def test_a_rate_that_it_keeps_up_with(
    package: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bench(tmp_path / "b.json", bench)
    assert main(["budget", str(package), "--from", str(tmp_path / "b.json"), "--rate", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "dmn-budget"
    assert document["mends"] == []
    [one] = document["verdicts"]
    assert (one["keeps_up"], one["ratio"], one["behind_h"], one["sure"]) == (True, 1.0, 0.0, True)
    assert document["limit"]["stage"] == "network"


def test_a_short_run_says_what_its_bounds_say(
    package: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4.00 Mvoxel/s were measured, 4.44 by the network alone."""
    write_bench(tmp_path / "b.json", bench)
    asked = ["budget", str(package), "--from", str(tmp_path / "b.json"), "--seconds", "30"]
    for rate, row in [
        ("3", "1.33 x -          keeps up"),
        ("5", "0.8 x -          cannot be said"),
        ("6", "0.667 x -          lags"),
    ]:
        assert main([*asked, "--rate", rate]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert " ".join(lines[5].split()[4:]) == " ".join(row.split())
        told = [line for line in lines if line.startswith("a run took 20.0 s, in which its beginning")]
        assert bool(told) == ("cannot" in row)
        assert all("that of the network alone, 4.44 Mvoxel/s" in line for line in told)
        assert ("what would mend the lag:" in lines) == ("lags" in row)
    assert main([*asked, "--rate", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    [one] = document["verdicts"]
    assert (one["keeps_up"], one["behind_h"], one["sure"]) == (None, None, False)
    assert (document["run_s"], document["at_most_voxels_per_s"]) == (20.0, pytest.approx(80e6 / 18))


def test_a_bench_of_another_machine_a_busy_one_or_another_package(
    package: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    write_bench(path, replace(bench, machine=replace(bench.machine, cpu="Another", logical_cores=64)))
    assert main(["budget", str(package), "--from", str(path)]) == 0
    assert "was measured on another machine (Another, 64 cores)" in capsys.readouterr().err
    write_bench(path, replace(bench, load_average=1e6))
    assert main(["budget", str(package), "--from", str(path)]) == 0
    assert "warning: the machine is busy: a load average of 1000000.0" in capsys.readouterr().out
    write_bench(path, replace(bench, package=PackageFacts("other", "cd" * 32, None)))
    assert main(["budget", str(package), "--from", str(path)]) == 2
    assert "was measured with another package (other)" in capsys.readouterr().err


def test_it_measures_by_itself(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = tmp_path / "own.tif"
    voxels = np.random.default_rng(5).integers(0, 256, (2, 40, 50)).astype(np.uint8)
    tifffile.imwrite(volume, voxels, photometric="minisblack")
    tools = measure.Tools(
        ceilings=lambda _: Ceilings(8e9, 5e9, 1e10), product=lambda *_: Ceiling(2e10, "products by a fake")
    )
    monkeypatch.setattr(measure, "Tools", lambda: tools)
    monkeypatch.setattr(measure, "QUICK_WINDOW_S", 0.0)
    words = [
        "budget",
        str(package),
        str(volume),
        "--engine",
        "cpu",
        "--voxel-nm",
        "8,8,8",
        "--dwell-ns",
        "100",
    ]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["quick"] is True
    assert document["volume"]["voxel_nm"] == [8.0, 8.0, 8.0]
    assert document["end_to_end_voxels_per_s"]["median"] > 0
    assert [one["acquisition"] for one in document["verdicts"]] == [
        {"name": "1 beam, 100 ns dwell", "voxels_per_s": 10e6}
    ]
    assert asdict(machine_facts()) == document["machine"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "-1"], "--rate -1 is no speed"),
        (["--seconds", "0"], "--seconds 0 is no length of a run"),
        (["--beams", "2"], "--beams: the dwell time of the scan is missing"),
        (["--from", "absent.json"], "absent.json cannot be read"),
        (["own.tif", "--from", "absent.json"], "--from takes what was measured as it is"),
        (["--from", "absent.json", "--workers", "2"], "--from takes what was measured as it is"),
        (["--voxel-nm", "8"], "--voxel-nm 8: wanted three lengths"),
    ],
)
def test_what_makes_no_sense_is_refused(
    package: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", str(package), *words]) == 2
    assert said in capsys.readouterr().err
