"""Calling pip, and what its failures are told as."""

from pathlib import Path

import pytest

from dmn_export.airgap.pip_runner import PipResult, check_result, run_pip
from dmn_export.airgap.plan import PipStep
from dmn_runtime.errors import MissingExtra, OutputError

STEP = PipStep("the wheels for windows, Python 3.11", ("download",), "connect this PC to a network")


def test_pip_runs_in_the_folder_and_its_failure_is_told(tmp_path: Path) -> None:
    result = run_pip(["download", "--no-index", "--dest", "wheels", "./no-such-file.whl"], tmp_path)
    assert result.status != 0
    with pytest.raises(OutputError, match="no-such-file"):
        check_result(STEP, result)


def test_pip_that_succeeds_is_not_talked_about(tmp_path: Path) -> None:
    result = run_pip(["--version"], tmp_path)
    assert result.status == 0
    check_result(STEP, result)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("WARNING: retrying\nERROR: first\nERROR: No match for x\n[notice] pip is old\n", "(No match for x)"),
        ("Traceback\n  OSError: disk full\n\n", "(OSError: disk full)"),
        ("\n", "(it said nothing)"),
    ],
)
def test_the_line_that_matters_is_told(output: str, told: str) -> None:
    with pytest.raises(OutputError) as caught:
        check_result(STEP, PipResult(1, output))
    assert str(caught.value) == (
        f"pip did not bring the wheels for windows, Python 3.11 {told}: connect this PC to a network"
    )


def test_a_long_line_is_cut() -> None:
    with pytest.raises(OutputError) as caught:
        check_result(STEP, PipResult(1, "ERROR: " + "x" * 10_000))
    assert len(str(caught.value)) < 500


def test_a_python_without_pip_is_told_how_to_get_it() -> None:
    with pytest.raises(MissingExtra, match="python -m ensurepip"):
        check_result(STEP, PipResult(1, "/venv/bin/python: No module named pip\n"))
