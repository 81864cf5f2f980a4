"""Which device and arithmetic are taken."""

from pathlib import Path

import pytest
import torch

from dmn_runtime.errors import RecipeError
from dmn_train import hardware


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx2", "32-true"), ("fpu avx512_bf16", "bf16-mixed"), ("amx_bf16 fpu", "bf16-mixed")],
)
def test_a_cpu_computes_bf16_only_in_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(hardware, "CPU_INFO", info)
    assert hardware.choose_precision("cpu") == precision


def test_without_listed_flags_precision_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "absent")
    assert hardware.choose_precision("cpu") == "32-true"


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_an_old_gpu_gets_fp16(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert hardware.choose_precision("cuda") == precision


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r'loop\.device is "cuda", but torch sees no CUDA device'):
        hardware.make_fabric("cuda", "auto", 1)
    assert hardware.make_fabric("auto", "32-true", 1).device.type == "cpu"


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match=r"loop\.devices is 2, but torch sees 1 CUDA devices here"):
        hardware.make_fabric("cuda", "32-true", 2)
