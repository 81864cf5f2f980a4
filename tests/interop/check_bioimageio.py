"""Run a package's test tensors by bioimageio.core, in an environment of its own.

    python -m venv venv && venv/bin/pip install bioimageio.core onnxruntime "pydantic<2.13"
    venv/bin/python tests/interop/check_bioimageio.py PACKAGE.zip

bioimageio.core 0.11 pins a bioimageio.spec that is older than the one DMN writes with, and that fails beside
pydantic 2.14. That is the point of this check: a reader of its own, which knows nothing of DMN. Exit status 0
and OK, or 1 and what speaks against the package.
"""
# ruff: noqa: T201 - a program whose output is its result

import importlib.util
import sys
from pathlib import Path

from bioimageio.core import test_description
from bioimageio.spec import ValidationSummary, settings

REPRODUCED = "Reproduce test outputs from test inputs (onnx)"


def main(words: list[str]) -> int:
    """Check the one package that `words` name; return the exit status."""
    if len(words) != 1 or not Path(words[0]).is_file():
        print("wanted one argument, the path of a package", file=sys.stderr)
        return 1
    for library in ("dmn_runtime", "torch"):
        if importlib.util.find_spec(library) is not None:
            print(
                f"{library} is installed here, wanted an environment without it",
                file=sys.stderr,
            )
            return 1
    settings.log_warnings = False
    summary = test_description(Path(words[0]), weight_format="onnx", expected_type="model")
    faults = list(faults_of(summary))
    if faults:
        print(summary.format(), *faults, sep="\n", file=sys.stderr)
        return 1
    print(f"OK: bioimageio.core reproduces the test output of {words[0]}")
    return 0


def faults_of(summary: ValidationSummary) -> list[str]:
    """Return what speaks against the package; a check that did not run counts."""
    faults = [f"{d.name}: {d.status}" for d in summary.details if d.status != "passed"]
    if summary.status != "passed":
        faults.append(f"the whole: {summary.status}")
    if REPRODUCED not in {detail.name for detail in summary.details}:
        faults.append(f"{REPRODUCED}: not run")
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
