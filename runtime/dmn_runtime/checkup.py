"""What `dmn doctor` looks at: each check returns findings, and none of them can end the others."""

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmn_runtime._version import __version__
from dmn_runtime.errors import DmnError
from dmn_runtime.extras import EXTRA_OF, is_present
from dmn_runtime.machine import cpu_model, instruction_sets, logical_cores, memory_bytes, possible_cores
from dmn_runtime.words import counted

State = Literal["works", "optional", "slow", "broken"]

GIVES = {
    "codecs": "reads TIFFs compressed with LZW, Zstandard, JPEG and others",
    "hdf5": "reads HDF5 volumes",
    "mrc": "reads MRC volumes",
    "objects": "dmn evaluate counts objects",
    "train": "dmn train",
    "export": "dmn export",
    "openvino": "the engine openvino, the fastest on most processors",
    "gpu": "TensorRT engines on an NVIDIA GPU",
    "pycuda": "the same by a CUDA binding that is there already",
    "tensorrt": "the engine tensorrt, for data-centre GPUs",
    "tensorrt-rtx": "the engine tensorrt_rtx, for RTX cards",
}
"""Extra of this project -> what it is good for."""

_ENGINE_OF = {"openvino": "openvino", "tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Extra that brings an engine -> the engine's word."""

LEAST_MEMORY_GB = 4
LEAST_DISK_GB = 5
_REINSTALL = "pip install --force-reinstall dmn-em"


@dataclass(frozen=True)
class Finding:
    """One line of the checkup.

    `state`: works; optional = not installed and not needed; slow = works, could be better; broken = DMN
    cannot work. `mend`: the command that mends it, None where nothing needs mending or no command can.
    """

    name: str
    state: State
    text: str
    mend: str | None = None


def check_up() -> list[Finding]:
    """Run every check on this machine."""
    checks = (
        _check_system,
        _check_processor,
        _check_memory,
        _check_disk,
        _check_onnxruntime,
        _check_two_onnxruntimes,
        _check_gpu,
        _check_extras,
        _check_package,
    )
    return [finding for check in checks for finding in guarded(check)]


def guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return a check's findings; whatever it raises becomes one, since doctors see broken things."""
    name = check.__name__.removeprefix("_check_")
    try:
        return check()
    except DmnError as error:
        return [Finding(name, "broken", str(error), _REINSTALL)]
    except Exception as error:
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [Finding(name, "broken", words, _REINSTALL)]


def _check_system() -> list[Finding]:
    words = f"dmn {__version__}, Python {platform.python_version()}, {platform.platform()}"
    return [Finding("system", "works", words)]


def _check_processor() -> list[Finding]:
    sets, usable, all_cores = instruction_sets(), logical_cores(), possible_cores()
    known = "instruction sets unknown here" if sets is None else ", ".join(sets) or "no vector extension"
    findings = [Finding("processor", "works", f"{cpu_model()}, {usable} logical cores; {known}")]
    if platform.machine() in ("x86_64", "AMD64") and sets is not None and "AVX2" not in sets:
        findings.append(Finding("processor", "slow", "no AVX2: a processor with it is several times as fast"))
    if usable < all_cores:
        findings.append(
            Finding(
                "processor",
                "slow",
                f"this process may use {usable} of {all_cores} cores: ask for more",
                f"taskset -c 0-{all_cores - 1} dmn infer ...",
            )
        )
    return findings


def _check_memory() -> list[Finding]:
    present = memory_bytes()
    if present is None:
        return [Finding("memory", "works", "size unknown here")]
    words = f"{present / 1e9:.1f} GB"
    if present < LEAST_MEMORY_GB * 1e9:
        words += f", less than {LEAST_MEMORY_GB} GB: use smaller blocks and fewer workers if a run is killed"
        return [Finding("memory", "slow", words, "dmn infer ... --workers 1 --tile 256")]
    return [Finding("memory", "works", words)]


def _check_disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    words = f"{free / 1e9:.1f} GB free in this folder"
    if free < LEAST_DISK_GB * 1e9:
        return [
            Finding(
                "disk", "slow", f"{words}: write results to another disk", "dmn infer ... -o OTHER_DISK/..."
            )
        ]
    return [Finding("disk", "works", words)]


def _check_onnxruntime() -> list[Finding]:
    try:
        import onnxruntime
    except ImportError as error:
        words = f"cannot be imported ({' '.join(str(error).split())})"
        return [Finding("onnxruntime", "broken", words, "pip install --force-reinstall onnxruntime")]
    providers = ", ".join(
        name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
    )
    return [Finding("onnxruntime", "works", f"{onnxruntime.__version__}, providers: {providers}")]


def _check_gpu() -> list[Finding]:
    from dmn_runtime.gpu.inquiry import visible_gpus

    gpus = visible_gpus()
    if not gpus:
        return [
            Finding("GPU", "works", "no NVIDIA driver answers; not needed, dmn infer runs on the processor")
        ]
    return [
        Finding("GPU", "works", f"{gpu.device} (compute capability), driver {gpu.driver_version}")
        for gpu in gpus
    ]


def _check_two_onnxruntimes() -> list[Finding]:
    """Find both builds of ONNX Runtime: they own one folder, and the later has half replaced the earlier."""
    from importlib.metadata import distributions

    present = {(distribution.metadata["Name"] or "").lower() for distribution in distributions()}
    if not {"onnxruntime", "onnxruntime-gpu"} <= present:
        return []
    return [
        Finding(
            "onnxruntime",
            "slow",
            "onnxruntime and onnxruntime-gpu are both installed and spoil each other",
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )
    ]


def _check_extras() -> list[Finding]:
    return [_extra(extra, gives) for extra, gives in GIVES.items()]


def _extra(extra: str, gives: str) -> Finding:
    if extra in _ENGINE_OF:
        return _engine(extra, gives)
    needed = [name for name, of in EXTRA_OF.items() if of == extra]
    missing = [name for name in needed if not is_present(name)]
    if missing:
        return Finding(extra, "optional", f"{gives}; not installed", f"pip install 'dmn-em[{extra}]'")
    return Finding(extra, "works", gives)


def _engine(extra: str, gives: str) -> Finding:
    """Tell of an engine what `dmn verify` tells: a library alone may not be enough to run it."""
    from dmn_runtime.engines.catalogue import kind_of

    why = kind_of(_ENGINE_OF[extra]).absence()
    if why is not None:
        return Finding(extra, "optional", f"{gives}; not here: {why}")
    return Finding(extra, "works", gives)


def _check_package() -> list[Finding]:
    from dmn_runtime.package import DEMO_WORD, open_package, resolve_package
    from dmn_runtime.selftest import run_test_tile, time_network

    package = open_package(resolve_package(DEMO_WORD))
    tested = run_test_tile(package)
    speed = time_network(package, logical_cores())
    return [
        Finding("package", "works", f"{package.contract.name}: opens, every member has its recorded sha256"),
        Finding(
            "self-test",
            "works",
            f"probabilities of a tile differ by at most {tested.max_dp:.1g} ({tested.tolerance:.1g} allowed)",
        ),
        Finding(
            "speed",
            "works",
            f"{speed.voxels_per_s / 1e6:.2f} Mvoxel/s, network alone, "
            f"{counted(speed.workers, 'worker')} at once",
        ),
    ]
