"""The RAM-to-RAM benchmark: what it would run, what it refuses, and a whole run on the processor."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dmn_runtime.certificate.tolerance import TOLERANCES
from dmn_runtime.clock import Clock
from dmn_runtime.engines import trial
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.errors import GpuMemoryError
from dmn_runtime.package import open_package
from dmn_runtime.setup import engine_wish, lay_out, set_up
from dmn_runtime.workforce import gather_workforce

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu" / "ram_to_ram.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dmn_ram_to_ram", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dmn_ram_to_ram"] = module
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_says_what_would_be_run(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["demo", "--shape", "16,2048,1024", "--engine", "cuda", "--precision", "fp16", "--dry-run"]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("demo: 16 x 2048 x 1024 voxels by cuda fp16, 5 rounds; 4 blocks, 8.9 Mvoxel up")
    assert "on 78 GiB: tiles of 1152 px, batches of 8, 3 streams, slabs of 8 slices" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "--shape", "1,2"], "--shape 1,2: wanted three whole numbers"),
        (["demo", "--shape", "0,2,3"], "wanted numbers from 1"),
        (["demo", "--rounds", "0"], "wanted numbers from 1"),
        (["nowhere.zip", "--dry-run"], "nowhere.zip"),
        (["demo", "--engine", "cuda", "--shape", "1,64,64"], "the engine cuda cannot run here"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    script: ModuleType, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be remembered, and no race take time."""
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(trial, "ROUND_S", 0.0)


def test_a_run_on_the_processor(
    script: ModuleType,
    small_package: Callable[..., Path],
    small: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.json"
    words = [str(small_package(1)), "--shape", "3,70,60", "--engine", "cpu", "--rounds", "2"]
    assert script.main([*words, "--json", str(out)]) == 0
    facts: dict[str, Any] = json.loads(out.read_text())
    [run] = facts["runs"]
    assert len(run["rounds"]) == 2
    assert run["max_grey_against_cpu"] == 0
    assert run["gpu"] is None
    assert {"gather", "network", "scatter"} <= set(run["stages_s"])
    assert facts["shape"] == [3, 70, 60]
    assert "| small-1-None-None-0.0 | fp32 by onnxruntime" in capsys.readouterr().out


def found(script: ModuleType, **changes: Any) -> Any:
    """Return a result that is as the certificate of fp16 wants it, with changes."""
    known = script.Measured(
        "s8", "fp16 by a GPU", "fp16", "the only one", TOLERANCES["fp16"], 0.001, 0.01, 13, [1e9], {}, {}
    )
    return replace(known, **changes)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1), ("fp16", 13), ("int8-trt", 128)])
def test_the_grey_levels_that_a_precision_may_lose(script: ModuleType, precision: str, most: int) -> None:
    assert script.most_grey(TOLERANCES[precision]) == most


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"golden_iou_change": 0.003}, "golden IoU change 0.003 (allowed 0.002)"),
        ({"golden_max_dp": float("nan")}, "golden max |dp| nan (allowed 0.05)"),
        ({"max_grey_against_cpu": 14}, "grey levels off the CPU 14 (allowed 13)"),
    ],
    ids=str,
)
def test_another_segmentation_is_a_fault(script: ModuleType, changes: dict[str, Any], said: str) -> None:
    assert script.fault_of(found(script)) is None
    assert script.fault_of(found(script, **changes)) == f"s8 by fp16 by a GPU: {said}"


def test_a_fault_is_one_sentence_and_the_exit_status_after_all_is_written(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = iter([found(script), found(script, package="s16", max_grey_against_cpu=200)])
    monkeypatch.setattr(script, "measured", lambda *_: next(results))
    out = tmp_path / "out.json"
    assert script.main(["s8.zip", "s16.zip", "--json", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == (
        "ram_to_ram: not the same segmentation: s16 by fp16 by a GPU: grey levels off the CPU 200 "
        "(allowed 13)"
    )
    assert "| s16 | fp16 by a GPU | 1000.0 " in printed.out
    assert [run["max_grey_against_cpu"] for run in json.loads(out.read_text())["runs"]] == [13, 200]


def test_whole_blocks_are_compared(
    script: ModuleType, small_package: Callable[..., Path], small: None
) -> None:
    package = open_package(small_package(1))
    words = [str(package.path), "--shape", "3,70,60", "--engine", "cpu", "--block", "2,32,32"]
    given = script.parsed(words)
    options, volume = script.options_of(given.packages[0], given), script.volume_for(package, given.shape)
    wish = engine_wish(options)
    layout = lay_out(options, package.contract, volume, wish.workers)
    choice, runner = open_best(package, choose(package, wish, print), wish, print)
    setup = set_up(options, package, volume, layout, choice, wish.workers)
    out = np.zeros(given.shape, np.uint8)
    script.passed_through(setup, gather_workforce(setup, runner, Clock(), print), out)
    assert script.against_cpu(setup, out) == 0
    for index in (0, len(setup.plan) // 2):
        last = tuple(n - 1 for n in setup.plan.block_at(index).output.stop)  # slice, row and column
        out[last] ^= 128
        assert script.against_cpu(setup, out) == 128
        out[last] ^= 128


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "measured", lambda *_: pytest.fail("it was measured"))
    for path in (tmp_path, tmp_path / "nowhere" / "out.json"):
        assert script.main(["demo", "--json", str(path)]) == 2
        assert f"--json {path} is a folder or lies in none" in capsys.readouterr().err


def test_a_run_that_fails_closes_engine_and_runner(
    script: ModuleType, small_package: Callable[..., Path], small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    opened = script.open_best

    def watched(*what: Any) -> Any:
        choice, runner = opened(*what)
        return choice, SimpleNamespace(
            run=runner.run, description=runner.description, close=lambda: closed.append("runner")
        )

    def full(*_: Any) -> Any:
        raise GpuMemoryError("the GPU is full")

    monkeypatch.setattr(script, "open_best", watched)
    monkeypatch.setattr(script, "gather_workforce", full)
    assert script.main([str(small_package(1)), "--shape", "3,70,60", "--engine", "cpu"]) == 2
    assert closed == ["runner"]
