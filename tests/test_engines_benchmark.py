"""The benchmark that will make the table of engines on a GPU machine goes as far as it can without one."""

import subprocess
import sys
from pathlib import Path

from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.package import resolve_package

ROOT = Path(__file__).parents[1]


def test_a_dry_run_names_what_would_be_measured_and_why_the_rest_cannot_be() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "engines.py"), "stack.tif"]
    words = [str(resolve_package("demo")), "--voxel-nm", "50,5,5", "--dry-run"]
    asked = subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=60)
    lines = asked.stdout.splitlines()
    assert "demo: cpu fp32" in lines
    assert "demo: openvino fp32" in lines
    if not visible_gpus():
        assert any(line.startswith("not here: tensorrt_rtx: ") for line in lines)
