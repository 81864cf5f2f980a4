"""Compile the fused kernels for every GPU that DMN runs on: `make kernels`.

.venv/bin/python benchmarks/kernels/build.py           writes tiles.fatbin and its record
.venv/bin/python benchmarks/kernels/build.py --check   fails where those are not what the source gives

The fatbin holds machine code for each target below and PTX of the oldest, which the driver compiles for GPUs
that come later. nvcc gives the same bytes for the same source, so a fatbin can be checked against it.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from dmn_runtime.errors import DmnError, UsageError
from dmn_runtime.gpu.fatbin import FATBIN_NAME, RECORD_NAME, SOURCE_NAME, FatbinRecord
from dmn_runtime.whole_file import whole_file

FOLDER = Path(__file__).parents[2] / "runtime" / "dmn_runtime" / "gpu"
TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_75")
"""Turing, Ampere, Ada, Hopper, Blackwell; the last is PTX."""


def main() -> None:
    """Build, or check what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="build elsewhere and compare")
    given = parser.parse_args()
    try:
        fatbin = compile_kernels(FOLDER / SOURCE_NAME).fatbin
        record = record_of(FOLDER / SOURCE_NAME, fatbin)
        if given.check:
            check(fatbin)
        else:
            write(fatbin, record)
    except DmnError as error:
        sys.exit(f"build.py: {error}")
    print(f"{FATBIN_NAME}: {len(fatbin)} bytes, {', '.join(record.targets)}, nvcc {record.nvcc}")


@dataclass(frozen=True)
class Compiled:
    """What nvcc gives. `told`: the lines in which it tells every kernel's registers and spills."""

    fatbin: bytes
    told: tuple[str, ...]


def compile_kernels(source: Path, targets: Sequence[str] = TARGETS) -> Compiled:
    """Compile a file of kernels; it may include tiles.cu.

    Raises:
        UsageError: nvcc is not there or refuses the source.
    """
    codes = [f"-gencode=arch={target.replace('sm', 'compute')},code={target}" for target in targets]
    # The verbose assembler belongs to the bytes: the fatbin records the options that made it.
    flags = [
        "-std=c++17",
        "-fatbin",
        "--compress-mode=size",
        "-Xptxas",
        "-v",
        "--threads",
        "2",
        f"-I{FOLDER}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, FATBIN_NAME)
        command = [_nvcc(), *flags, *codes, "-o", str(built), source.name]
        done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"nvcc refuses {source.name}: {done.stderr.strip()}")
        return Compiled(built.read_bytes(), tuple(done.stderr.splitlines()))


def record_of(source: Path, fatbin: bytes) -> FatbinRecord:
    """Return what `make kernels` writes beside the fatbin."""
    return FatbinRecord(
        source_sha256=sha256(source.read_bytes()).hexdigest(),
        fatbin_sha256=sha256(fatbin).hexdigest(),
        nvcc=nvcc_version(),
        targets=TARGETS,
    )


def nvcc_version() -> str:
    """Return nvcc's version, as "13.0.88".

    Raises:
        UsageError: nvcc is not there.
    """
    told = subprocess.run([_nvcc(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\bV(\d+\.\d+\.\d+)", told)
    if found is None:
        raise UsageError(f"nvcc does not tell its version but {told!r}: install the CUDA toolkit anew")
    return found[1]


def write(fatbin: bytes, record: FatbinRecord) -> None:
    """Put fatbin and record beside the source; a crash between the two shows in the tests."""
    with whole_file(FOLDER / FATBIN_NAME, "fatbin") as partial:
        partial.write_bytes(fatbin)
    with whole_file(FOLDER / RECORD_NAME, "record") as partial:
        partial.write_text(json.dumps(asdict(record), indent=2) + "\n")


def check(fatbin: bytes) -> None:
    """Hold the fatbin that is there against a new one.

    Raises:
        UsageError: they differ.
    """
    there = FOLDER / FATBIN_NAME
    if not there.exists() or there.read_bytes() != fatbin:
        raise UsageError(
            f"{there} is not what nvcc {nvcc_version()} makes of {SOURCE_NAME}: run make kernels"
        )


def _nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        raise UsageError("nvcc is not there: install the CUDA toolkit, 13.0 or later")
    return found


if __name__ == "__main__":
    main()
