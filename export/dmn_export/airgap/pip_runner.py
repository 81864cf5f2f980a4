"""Call pip, the one of the running Python, with the index that the user configured."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmn_export.airgap.plan import PipStep
from dmn_runtime.errors import MissingExtra, OutputError

_QUIETLY = ("--quiet", "--disable-pip-version-check", "--no-input")
_MOST_CHARS = 300


@dataclass(frozen=True)
class PipResult:
    """`status`: 0 where all went well; `output`: all that pip said."""

    status: int
    output: str


RunPip = Callable[[Sequence[str], Path], PipResult]
"""Runs pip with these words in this folder."""


def run_pip(words: Sequence[str], folder: Path) -> PipResult:
    """Run pip as a child process in `folder` until it ends."""
    command = [sys.executable, "-m", "pip", words[0], *_QUIETLY, *words[1:]]
    done = subprocess.run(  # noqa: S603 (our own Python, a list of words, no shell)
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    return PipResult(done.returncode, done.stdout)


def check_result(step: PipStep, result: PipResult) -> None:
    """Refuse a call of pip that failed.

    Raises:
        MissingExtra: there is no pip.
        OutputError: pip did not bring what was wanted; its last line says why.
    """
    if result.status == 0:
        return
    last = _last_line(result.output)
    if last.endswith("No module named pip"):
        raise MissingExtra("to collect wheels, pip must be installed: python -m ensurepip")
    raise OutputError(f"pip did not bring {step.what} ({last}): {step.mend}")


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # What follows the last error is advice about pip itself.
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    last = (errors or lines or ["it said nothing"])[-1]
    return last if len(last) <= _MOST_CHARS else f"{last[:_MOST_CHARS]}..."
