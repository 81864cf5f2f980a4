"""The RAM-to-RAM benchmark: what it would run, what it refuses, and a whole run on the processor."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dmn_runtime.engines import trial

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


def test_a_run_on_the_processor(
    script: ModuleType,
    small_package: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(trial, "ROUND_S", 0.0)
    out = tmp_path / "out.json"
    words = [str(small_package(1)), "--shape", "3,70,60", "--engine", "cpu", "--rounds", "2"]
    assert script.main([*words, "--json", str(out)]) == 0
    facts: dict[str, Any] = json.loads(out.read_text())
    [run] = facts["runs"]
    assert len(run["rounds"]) == 2
    assert run["max_grey_against_cpu"] == 0
    assert {"gather", "network", "scatter"} <= set(run["stages_s"])
    assert facts["shape"] == [3, 70, 60]
    assert "| small-1-None-None-0.0 | fp32 by onnxruntime" in capsys.readouterr().out
