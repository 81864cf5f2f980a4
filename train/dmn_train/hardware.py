"""Where a run computes and in which arithmetic; what was taken is recorded in run.json."""

import logging
import platform
from pathlib import Path
from typing import Literal, cast

import torch
from lightning_fabric import Fabric

from dmn_runtime.errors import RecipeError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
BF16_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
CPU_INFO = Path("/proc/cpuinfo")


def make_fabric(device: str, precision: str, devices: int) -> Fabric:
    """Build the Fabric of a recipe's `loop.device`, `loop.precision` and `loop.devices`.

    Raises:
        RecipeError: the device is not here, or fewer of them than wanted.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError('loop.device is "cuda", but torch sees no CUDA device here: wanted "auto" or "cpu"')
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    present = torch.cuda.device_count()
    if device == "cuda" and devices > present:
        raise RecipeError(
            f"loop.devices is {devices}, but torch sees {present} CUDA devices here: set it to that"
        )
    chosen = choose_precision(device) if precision == "auto" else cast(Precision, precision)
    # Fabric announces the precision on standard error; run.json records it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(accelerator=device, devices=devices, precision=chosen)


def choose_precision(device: str) -> Precision:
    """Return the fastest mixed precision that `device` computes in hardware."""
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if device == "cpu" and cpu_flags() & BF16_CPU_FLAGS:
        return "bf16-mixed"
    return "32-true"


def cpu_flags() -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; empty where the system does not list them."""
    if not CPU_INFO.is_file():
        return frozenset()
    for line in CPU_INFO.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def device_name(device: torch.device) -> str:
    """Return the device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
