"""The compiled kernels belong to their source, for every target, and are installed."""

import importlib.util
import json
import re
import shutil
import sys
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from dmn_runtime.errors import EngineError
from dmn_runtime.gpu import fatbin
from dmn_runtime.gpu.kernels import KERNEL_NAMES

ROOT = Path(__file__).parents[3]


def _builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dmn_build", ROOT / "benchmarks" / "kernels" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_fatbin_belongs_to_the_source() -> None:
    record = fatbin.read_record()
    source = files("dmn_runtime.gpu").joinpath(fatbin.SOURCE_NAME).read_bytes()
    assert record.source_sha256 == sha256(source).hexdigest(), "run make kernels"
    assert record.fatbin_sha256 == sha256(fatbin.read_fatbin()).hexdigest()


def test_it_holds_code_for_what_dmn_runs_on() -> None:
    targets = set(fatbin.read_record().targets)
    assert targets >= {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120", "compute_75"}


def test_nvcc_gives_the_same_fatbin_and_no_kernel_spills() -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not there to compile the kernels with")
    builder = _builder()
    compiled = builder.compile_kernels(builder.FOLDER / fatbin.SOURCE_NAME)
    machine_targets = [target for target in builder.TARGETS if target.startswith("sm_")]
    spills = [re.findall(r"(\d+) bytes spill", line) for line in compiled.told if "spill" in line]
    assert spills == [["0", "0"]] * len(machine_targets) * len(KERNEL_NAMES)
    record = fatbin.read_record()
    assert record.targets == builder.TARGETS
    if builder.nvcc_version() == record.nvcc:
        assert sha256(compiled.fatbin).hexdigest() == record.fatbin_sha256


def test_another_fatbin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    record = json.dumps({"source_sha256": "", "fatbin_sha256": "0" * 64, "nvcc": "13.0.88", "targets": []})
    contents = {fatbin.FATBIN_NAME: b"something else", fatbin.RECORD_NAME: record.encode()}
    monkeypatch.setattr(fatbin, "_read", contents.__getitem__)
    with pytest.raises(EngineError, match=r"tiles\.fatbin is not the file that tiles\.fatbin\.json records"):
        fatbin.read_fatbin()


def test_a_missing_fatbin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fatbin, "FATBIN_NAME", "nothing.fatbin")
    with pytest.raises(EngineError, match="the GPU's kernels are missing from the install"):
        fatbin.read_fatbin()
