"""The command of the peers' benchmark as far as it goes without installing and measuring."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.machine import logical_cores
from dmn_runtime.package import open_package, resolve_package

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "peers" / "run.py"


def asked(*words: str) -> tuple[int, list[str], list[str]]:
    done = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96), np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", image, photometric="minisblack")
    package = resolve_package("demo")
    sha256 = open_package(package).contract.provenance["run"]["weights_sha256"]
    network = {"base": 8, "levels": 3, "context_slices": 0}
    facts = {"network": network, "weights_sha256": sha256}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return [
        f"--volume=v={tmp_path / 'v.tif'},50x5x5,slices=4", f"--student=demo={tmp_path / 'run'},{package}",
        f"--out={tmp_path / 'out'}", f"--envs={tmp_path / 'envs'}",
    ]  # fmt: skip


def test_a_dry_run_says_what_would_be_done_and_does_nothing(words: list[str], tmp_path: Path) -> None:
    status, lines, errors = asked(*words, "--dry-run")
    assert (status, errors) == (0, [])
    assert (
        "environment monai: monai==1.6.1, torch==2.13.0, numpy==2.4.6, safetensors==0.8.0 (would be made)"
        in lines
    )
    assert "environment dmn: DMN itself (this interpreter)" in lines
    assert "volume v: v.tif, 4 x 32 x 48 voxels on the working grid" in lines
    assert any(line.startswith("student demo: weights ") for line in lines)
    assert any(
        line.startswith("contestant monai-gaussian: MONAI sliding window, overlap 0.5") for line in lines
    )
    assert f"on cpu with {logical_cores()} cores" in lines
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "envs").exists()


def test_a_dry_run_of_the_gpus_contest_needs_no_gpu(words: list[str]) -> None:
    status, lines, _ = asked(*words, "--dry-run", "--device", "cuda", "--cores", "1")
    assert status == 0
    assert "on cuda with 1 cores" in lines
    names = [line.split()[1].rstrip(":") for line in lines if line.startswith("contestant ")]
    assert {"monai-gaussian-fast", "torch-compile-amp", "torch-em", "dmn-ram"} <= set(names)


def test_some_take_part(words: list[str]) -> None:
    status, lines, _ = asked(*words, "--dry-run", "--only", "dmn-auto,torch-eager")
    assert status == 0
    assert [line.split(":")[0] for line in lines if line.startswith(("env", "cont"))] == [
        "environment torch", "environment dmn", "contestant torch-eager", "contestant dmn-auto",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--cores", "0"], "error: --cores 0: this process may use 1 to "),
        (["--rounds", "0"], "error: --rounds 0 measures nothing"),
        (["--timeout", "0"], "error: --timeout 0 lets nothing finish"),
        (["--only", "monay"], "error: --only monay: on cpu there are monai-gaussian, "),
        (["--student", "x=nowhere,y"], "error: the run folder of --student x, 'nowhere', does not exist"),
        (["--python", "x=y"], "error: --python x=y names no environment"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_status_2(
    words: list[str], more: list[str], why: str
) -> None:
    status, lines, errors = asked(*words, "--dry-run", *more)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith(why)


def test_a_gpus_contest_without_a_gpu_is_refused_before_anything_is_made(
    words: list[str], tmp_path: Path
) -> None:
    if visible_gpus():
        pytest.skip("there is a GPU here")
    status, _, errors = asked(*words, "--device", "cuda")
    assert status == 2
    assert errors == ["error: --device cuda: no NVIDIA driver answers on this machine: take --device cpu"]
    assert not (tmp_path / "envs").exists()


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    status, _, errors = asked("--report-only", "--out", str(tmp_path))
    assert status == 2
    assert errors == [
        f"error: {tmp_path / 'throughput-peers.json'} does not exist, so there is nothing to report: "
        "measure first"
    ]
