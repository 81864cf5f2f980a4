"""The answers of nvidia-smi, literally, and programs that misbehave in its place."""

import subprocess
import sys

import pytest

from dmn_runtime.gpu import inquiry
from dmn_runtime.gpu.inquiry import Gpu, parse_gpus, visible_gpus

A4000 = Gpu("NVIDIA RTX A4000", "GPU-5f1e0c2a-1111-2222-3333-444455556666", "581.15", "8.6", 16376 * 2**20)
A4000_LINE = "NVIDIA RTX A4000, GPU-5f1e0c2a-1111-2222-3333-444455556666, 581.15, 8.6, 16376"
H100_LINE = "NVIDIA H100 80GB HBM3, GPU-aa, 580.95.05, 9.0, 81559"


def test_one_gpu():
    assert parse_gpus(A4000_LINE + "\n") == (A4000,)
    assert A4000.device == "NVIDIA RTX A4000, 8.6"


def test_several_gpus_keep_the_drivers_order_and_windows_line_ends():
    names = [gpu.name for gpu in parse_gpus(f"{H100_LINE}\r\n{A4000_LINE}\r\n")]
    assert names == ["NVIDIA H100 80GB HBM3", "NVIDIA RTX A4000"]


@pytest.mark.parametrize("unknown", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", ""])
def test_what_the_driver_does_not_tell_is_none(unknown):
    [gpu] = parse_gpus(f"NVIDIA GB10, GPU-bb, 580.1, {unknown}, {unknown}\n")
    assert gpu == Gpu("NVIDIA GB10", "GPU-bb", "580.1", None, None)
    assert gpu.device == "NVIDIA GB10, unknown"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
        "latest NVIDIA driver is installed and running.\n",
        'Field "compute_cap" is not a valid field to query.\n',
        "one, two, three, four, five\n",
        "[N/A], GPU-bb, 580.1, 8.6, 100\n",
        "NVIDIA GB10, [N/A], 580.1, 8.6, 100\n",
        "NVIDIA GB10, GPU-bb, [N/A], 8.6, 100\n",
    ],
)
def test_an_error_text_is_no_gpu(text):
    assert parse_gpus(text) == ()


def test_a_lost_gpu_does_not_hide_the_others():
    lost = "Unable to determine the device handle for GPU0000:02:00.0: Unknown Error"
    assert parse_gpus(f"{lost}\n{A4000_LINE}\n") == (A4000,)


def test_no_driver(monkeypatch):
    monkeypatch.setattr(inquiry, "_program", lambda: None)
    assert visible_gpus() == ()


def in_place_of_nvidia_smi(monkeypatch, code):
    """Run a Python program where nvidia-smi would be run."""
    run = subprocess.run
    monkeypatch.setattr(inquiry, "_program", lambda: "nvidia-smi")
    monkeypatch.setattr(
        subprocess, "run", lambda query, **how: run([sys.executable, "-c", code, *query[1:]], **how)
    )


def test_the_query_and_the_answer(monkeypatch):
    asked = "--query-gpu=name,uuid,driver_version,compute_cap,memory.total"
    code = f"import sys; assert sys.argv[1] == {asked!r}, sys.argv; print({A4000_LINE!r})"
    in_place_of_nvidia_smi(monkeypatch, code)
    assert visible_gpus() == (A4000,)


@pytest.mark.parametrize(
    "code",
    [
        f"print({A4000_LINE!r}); raise SystemExit(9)",
        "import sys; sys.stdout.buffer.write(bytes(range(256)))",
        "import time; time.sleep(60)",
    ],
    ids=["fails", "binary", "hangs"],
)
def test_a_driver_that_does_not_answer_is_none(monkeypatch, code):
    monkeypatch.setattr(inquiry, "_TIME_LIMIT_S", 0.5 if "sleep" in code else 30)
    in_place_of_nvidia_smi(monkeypatch, code)
    assert visible_gpus() == ()


def test_a_program_that_cannot_be_started_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(inquiry, "_program", lambda: str(tmp_path / "gone"))
    assert visible_gpus() == ()


def test_on_windows_the_drivers_own_program_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "System32" / "nvidia-smi.exe"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setenv("SystemRoot", str(tmp_path))
    assert inquiry._program() == str(program)
