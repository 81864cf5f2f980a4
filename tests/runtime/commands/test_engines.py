"""`dmn engines`: the table, the JSON, and what pruning says."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dmn_runtime.cli import main
from dmn_runtime.commands import engines
from dmn_runtime.engine_cache.here import Here
from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.record import Label
from dmn_runtime.engine_cache.store import obtain
from dmn_runtime.gpu.inquiry import Gpu

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GPU = Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", None)
HERE = Here({"tensorrt": None, "tensorrt_rtx": "1.7.1.116"}, (GPU,), "linux_x86_64")
READY = EngineKey(
    onnx_sha256="a" * 64,
    library="tensorrt_rtx",
    library_version="1.7.1.116",
    device=GPU.device,
    driver=GPU.driver_version,
    precision="fp16",
    profile={},
    targets=(),
    platform="linux_x86_64",
    recipe=1,
)
STALE = replace(READY, library_version="1.6.0.1")
ELSEWHERE = replace(READY, device="", driver="", targets=("SM89", "SM120"))
DAMAGED = replace(READY, precision="fp32")


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Point the command at an empty cache, a machine with one GPU, and a clock that stands still."""
    monkeypatch.setattr(engines, "datetime", Clock)
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "find_here", lambda: HERE)
    return tmp_path / "cache" / "engines"


@pytest.fixture
def filled(cache):
    for key in (READY, STALE, ELSEWHERE, DAMAGED):
        obtain(
            key, Label("mito-s16", "b" * 64), lambda path: path.write_bytes(bytes(2500)), lambda plan: None
        )
    os.truncate(cache / DAMAGED.digest / "engine.plan", 1000)
    for key, hours in ((READY, 1), (STALE, 30), (ELSEWHERE, 100)):
        record = cache / key.digest / "record.json"
        document = json.loads(record.read_bytes()) | {"created": (NOW - timedelta(hours=hours)).isoformat()}
        record.write_text(json.dumps(document))
    return cache


@pytest.fixture
def run(capsys):
    def run_words(*words):
        status = main(["engines", *words])
        caught = capsys.readouterr()
        return status, caught.out, caught.err

    return run_words


def test_an_empty_cache(cache, run):
    assert run("list") == (0, f"no engines in {cache}\n", "")
    assert run("prune") == (0, "nothing to remove: there are no engines\n", "")


def test_one_engine_is_singular(filled, run):
    for key in (STALE, ELSEWHERE, DAMAGED):
        shutil.rmtree(filled / key.digest)
    assert run("list")[1].splitlines()[-1].startswith("1 engine, ")


def test_the_table(filled, run):
    status, out, _ = run("list")
    lines = [[word.strip() for word in line.split("  ") if word] for line in out.splitlines()]
    assert status == 0
    assert lines[0] == ["package", "precision", "library", "GPU", "size", "age", "state"]
    gpu = "NVIDIA RTX A4000, 8.6; driver 581.15"
    sizes = [line[4] for line in lines[1:5]]
    assert all(size.startswith("3.") and size.endswith(" kB") for size in sizes[:3])
    without_sizes = [line[:4] + line[5:] for line in lines[1:4]]
    assert without_sizes == [
        ["mito-s16", "fp16", "tensorrt_rtx 1.7.1.116", gpu, "60 min", "ready"],
        ["mito-s16", "fp16", "tensorrt_rtx 1.6.0.1", gpu, "30 h", "other library version"],
        ["mito-s16", "fp16", "tensorrt_rtx 1.7.1.116", "SM89, SM120", "4 days", "for other machines"],
    ]
    assert lines[4][0] == f"{DAMAGED.digest[:12]}..."
    assert lines[4][-1] == "damaged: its plan is cut short: 1,000 of 2,500 bytes"
    assert out.splitlines()[-1].startswith("4 engines, ")
    assert out.splitlines()[-1].endswith(f"in {filled}")


def test_json(filled, run):
    status, out, _ = run("list", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["folder"] == str(filled)
    assert [one["state"] for one in document["engines"]] == [
        "ready",
        "other library version",
        "for other machines",
        "damaged",
    ]
    ready, damaged = document["engines"][0], document["engines"][3]
    assert (ready["package"], ready["digest"]) == ("mito-s16", READY.digest)
    assert ready["key"] == READY.to_json()
    assert damaged["fault"] == "its plan is cut short: 1,000 of 2,500 bytes"


def test_pruning_says_what_and_how_many_bytes(filled, run):
    status, out, _ = run("prune", "--dry-run")
    assert status == 0
    size = sum(path.stat().st_size for key in (STALE, DAMAGED) for path in (filled / key.digest).iterdir())
    assert out.splitlines()[-1] == f"would be removed: 2, {size:,} bytes"
    assert len(list(filled.iterdir())) == 4
    status, out, _ = run("prune")
    assert out.splitlines()[0].startswith(f"removed: {STALE.digest[:12]}..., ")
    assert out.splitlines()[0].endswith("kB, other library version")
    assert out.splitlines()[-1] == f"removed: 2, {size:,} bytes"
    assert {path.name for path in filled.iterdir()} == {READY.digest, ELSEWHERE.digest}
    assert run("prune") == (0, "nothing to remove: every engine can be kept\n", "")


def test_pruning_all_takes_unfinished_builds_too(filled, run):
    (filled / f".building-{READY.digest}-0123abcd").mkdir()
    status, out, _ = run("prune", "--all")
    assert status == 0
    assert out.splitlines()[-1].startswith("removed: 5, ")
    assert list(filled.iterdir()) == []


def test_pruning_by_age(filled, run):
    status, _, _ = run("prune", "--older-than-days", "36500")
    assert {path.name for path in filled.iterdir()} == {READY.digest, ELSEWHERE.digest}
    status, _, _ = run("prune", "--older-than-days", "0")
    assert (status, list(filled.iterdir())) == (0, [])


@pytest.mark.parametrize("option", ["--all", "--dry-run", "--older-than-days=3"])
def test_options_of_prune_are_refused_by_list(cache, run, option):
    status, out, err = run("list", option)
    assert (status, out) == (2, "")
    assert "belong to dmn engines prune" in err


def test_json_is_refused_by_prune(cache, run):
    assert run("prune", "--json") == (
        2,
        "",
        "dmn engines: --json belongs to dmn engines list: leave it out\n",
    )


def test_an_unknown_action_is_status_2(cache, run):
    assert run("burn")[0] == 2


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (2_671_564, "2.7 MB"),
        (3_200_000_000, "3.2 GB"),
    ],
)
def test_sizes(count, words):
    assert engines.size_words(count) == words


@pytest.mark.parametrize(
    ("hours", "words"), [(-5, "0 min"), (1.99, "119 min"), (2, "2 h"), (47.9, "47 h"), (48, "2 days")]
)
def test_ages(hours, words):
    assert engines.age_words(timedelta(hours=hours)) == words
