"""The ladder without a GPU: it compiles, its versions are right, timing runs, arguments are checked."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks" / "kernels"


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dmn_test_ladder", FOLDER / "ladder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fatbin(tmp_path: Path) -> str:
    """Return a file that the tests' device takes for a fatbin."""
    path = tmp_path / "ladder.fatbin"
    path.write_bytes(b"\x50\xed\x55\xba\x01\x00\x10\x00" + bytes(8))
    return str(path)


def test_the_dry_run_compiles_and_finds_every_version_right(
    ladder: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not there to compile the ladder with")
    assert ladder.main(["--dry-run", "--targets", "sm_75,sm_120"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["right"] * len(ladder.GATHERS + ladder.SCATTERS)


def test_a_wrong_version_is_told(
    ladder: ModuleType, fatbin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ladder.gather_batch
    monkeypatch.setattr(ladder, "gather_batch", lambda *given: other(*given) + np.float16(1))
    assert ladder.main(["--dry-run", "--fatbin", fatbin]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong")]
    assert len(wrong) == len(ladder.GATHERS)


def test_every_version_is_timed_beside_the_copy(
    ladder: ModuleType,
    fatbin: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ladder, "open_device", ladder._device_on_cpu)
    one_batch = ladder.make_workload((3, 37, 61), 40, ladder.Footprint(4, 8, 1), 18)
    monkeypatch.setattr(ladder, "timed_workload", lambda slices: one_batch)
    monkeypatch.setattr(ladder, "FLUSH_BYTES", 1 << 18)
    path = tmp_path / "figures.json"
    words = ["--fatbin", fatbin, "--blocks", "128", "--repeats", "5", "--json", str(path)]
    assert ladder.main(words) == 0
    document = json.loads(path.read_text())
    versions = [figure["kernel"] for figure in document["figures"]]
    copy = "dmn_copy"
    assert versions == [copy, *(r.kernel for r in ladder.GATHERS), copy, *(r.kernel for r in ladder.SCATTERS)]
    assert document["device"] == "NumPy, 8.6"
    # The device's clock counts a millisecond a task: each launch takes two, its own and the mark's.
    assert [figure["percent_of_copy"] for figure in document["figures"]] == [pytest.approx(100)] * 9
    assert [figure["median_s"] for figure in document["figures"]] == [pytest.approx(0.002)] * 9
    assert document["figures"][0]["bytes_moved"] == 3 * 37 * 61 + 18 * 3 * 40 * 40 * 2
    assert document["figures"][-1]["bytes_moved"] == 3 * 37 * 61 * 3
    assert "% of copy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--blocks", "64,100"], "--blocks 64,100: give some of 32, 64, 128 and 256"),
        (["--repeats", "4"], "4 repeats and 8 slices: give at least 5"),
        (["--slices", "0"], "50 repeats and 0 slices"),
        (["--targets", "sm_12"], "--targets sm_12: give some of sm_75"),
        (["--fatbin", "nowhere.fatbin"], "there is no fatbin nowhere.fatbin"),
        (["--json", "nowhere/figures.json"], "there is no folder"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    ladder: ModuleType, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ladder.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("ladder.py: ")
    assert sentence in told
    assert told.count("\n") == 1


def test_an_unknown_argument_is_one_sentence(ladder: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ladder.main(["--faster"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_sanitizer_s_commands_run_the_checks(
    ladder: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ladder.main(["--sanitizer", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines] == [["--tool", "memcheck"], ["--tool", "racecheck"]]
    assert all("--error-exitcode 1" in line and "--check-only" in line for line in lines)
