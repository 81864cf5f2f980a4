"""The benchmark suites run and their results carry what they should; no time is ever looked at."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from dmn_runtime.errors import UsageError

ROOT = Path(__file__).parents[2]
SUITES = sorted(path.stem for path in (ROOT / "benchmarks").glob("test_*.py"))
TIMED = ("test_plan", "test_tiles", "test_stream", "test_sinks")
"""Suites that are timed too, to see what their results carry; the others say it by the same function."""


def run_suites(suites: list[str] | tuple[str, ...], folder: Path, *words: str) -> None:
    """Run suites on the smallest sizes in a process of their own; what they say is in `folder`."""
    stack = folder / "stack.tif"
    grey = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    tifffile.imwrite(stack, grey, photometric="minisblack")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DMN_BENCH_", "PYTEST_"))}
    named = {"DMN_BENCH_SIZE": "tiny", "DMN_BENCH_VOLUME": str(stack), "DMN_BENCH_VOXEL_NM": "50,10,10"}
    paths = [f"benchmarks/{suite}.py" for suite in suites]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", folder / "temp"]
    done = subprocess.run(
        [*command, *words, *paths],
        cwd=ROOT,
        env=kept | named | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_suite_runs_once(tmp_path: Path) -> None:
    run_suites(SUITES, tmp_path, "--benchmark-disable", f"--junitxml={tmp_path / 'ran.xml'}")
    ran = [case for case in ElementTree.parse(tmp_path / "ran.xml").iter("testcase") if not len(case)]
    assert sorted({case.attrib["classname"].removeprefix("benchmarks.") for case in ran}) == SUITES


def test_every_result_has_a_group_its_voxels_and_its_speed(tmp_path: Path) -> None:
    shortest = ("--benchmark-min-rounds=1", "--benchmark-max-time=0.001", "--benchmark-min-time=0.000001")
    run_suites(TIMED, tmp_path, *shortest, f"--benchmark-json={tmp_path / 'found.json'}")
    found = json.loads((tmp_path / "found.json").read_text())["benchmarks"]
    assert {Path(one["fullname"].partition("::")[0]).stem for one in found} == set(TIMED)
    for one in found:
        info = one["extra_info"]
        assert one["group"], one["name"]
        assert info["size"] == "tiny"
        assert info["voxels"] > 0
        assert {"mvoxel_per_s"} <= info.keys()
        if "test_tiles" in one["fullname"]:
            assert {"bytes", "gb_per_s", "copy_gb_per_s", "share_of_copy"} <= info.keys()


@pytest.fixture(scope="module")
def material() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dmn_bench_material", ROOT / "benchmarks" / "material.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_size_that_does_not_exist_is_one_sentence(material: ModuleType) -> None:
    with pytest.raises(UsageError, match="DMN_BENCH_SIZE is 'huge': set it to full or tiny, or leave it out"):
        material.size_of("huge")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_made_up_tissue_is_neither_constant_nor_repeated(
    material: ModuleType, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(material, "SIZE", material.TINY)
    depth, height, width = material.TINY.drawn
    voxels = material.tissue((2 * depth, 2 * height, width), dtype)
    assert voxels.dtype == dtype
    assert len(np.unique(voxels)) > 30
    assert np.mean(voxels[:depth, :height] == voxels[depth:, height:]) < 0.5
