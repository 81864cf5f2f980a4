"""Which GPUs the driver knows, asked of nvidia-smi: no library is loaded, no context is made."""

import csv
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_FIELDS = ("name", "uuid", "driver_version", "compute_cap", "memory.total")
_TIME_LIMIT_S = 10
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    `uuid`: as in CUDA_VISIBLE_DEVICES ("GPU-..."). `compute_capability` ("8.6") and `memory_bytes` are None
    where the driver does not tell.
    """

    name: str
    uuid: str
    driver_version: str
    compute_capability: str | None
    memory_bytes: int | None

    @property
    def device(self) -> str:
        """What an engine is built for: name and compute capability ("NVIDIA RTX A4000, 8.6")."""
        return f"{self.name}, {self.compute_capability or 'unknown'}"


def visible_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs in the driver's order; none where there is no driver or it does not answer.

    CUDA_VISIBLE_DEVICES is not applied: it is a matter of the process that computes.
    """
    program = _program()
    if program is None:
        return ()
    query = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(  # noqa: S603 (our own words, no shell)
            query,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIME_LIMIT_S,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no console flashes up on Windows
        )
    except (subprocess.SubprocessError, OSError):
        return ()
    return parse_gpus(asked.stdout)


def _program() -> str | None:
    """Return the path of nvidia-smi.

    On Windows the driver's own folder comes first: there a plain search begins in the working folder.
    """
    system = os.environ.get("SystemRoot")  # noqa: SIM112 (Windows writes it so)
    own = Path(system, "System32", "nvidia-smi.exe") if system else None
    return str(own) if own is not None and own.is_file() else shutil.which("nvidia-smi")


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of nvidia-smi's answer, one a line, in the order of the query, memory in MiB.

    Lines that are not of that form are passed over: where one GPU is lost, nvidia-smi writes a sentence about
    it between the lines of the others.
    """
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return tuple(gpu for row in rows if (gpu := _gpu([field.strip() for field in row])) is not None)


def _gpu(row: list[str]) -> Gpu | None:
    if len(row) != len(_FIELDS):
        return None
    name, uuid, driver, capability, memory = (_known(field) for field in row)
    if name is None or driver is None or uuid is None or not uuid.startswith("GPU-"):
        return None
    size = int(memory) * _MIB if memory is not None and memory.isdecimal() else None
    return Gpu(name, uuid, driver, capability, size)


def _known(field: str) -> str | None:
    """Return the field, or None for "[N/A]", "[Not Supported]" and their like."""
    return None if not field or field.startswith("[") or field == "N/A" else field
