"""What the driver's errors mean to a user: each one sentence with what happened and what to do.

cuda.bindings gives an error's name, pycuda the driver's text for it; both are looked up in one table. The
texts are those of CUDA 13 (cuGetErrorString). An error that is not listed is told by its name or text.
"""

import re
from dataclasses import dataclass

from dmn_runtime.errors import EngineError, GpuMemoryError

OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_LOOK = "see what nvidia-smi says"
_AGAIN = "start the run again, it goes on where it stopped; if it comes back, report it with the command"
_REPORT = "report this as an error of DMN, with the command and what dmn doctor says"
_INSTALL = "install DMN again, so that kernels and program belong together"
_NEWER = "install a newer NVIDIA driver"


@dataclass(frozen=True)
class Fault:
    """An error of the driver.

    `text`: what cuGetErrorString says. `happened`: after "since". `mend`: an imperative.
    """

    text: str
    happened: str
    mend: str


FAULTS: dict[str, Fault] = {
    OUT_OF_MEMORY: Fault(
        "out of memory",
        "there is not enough memory",
        "take a smaller batch or tile, or end what else uses the GPU (nvidia-smi lists it)",
    ),
    "CUDA_ERROR_NO_DEVICE": Fault(
        "no CUDA-capable device is detected",
        "the driver finds no GPU",
        f"look at CUDA_VISIBLE_DEVICES, then {_LOOK}",
    ),
    "CUDA_ERROR_INVALID_DEVICE": Fault(
        "invalid device ordinal",
        "there is no GPU of that number",
        f"look at CUDA_VISIBLE_DEVICES, then {_LOOK}",
    ),
    "CUDA_ERROR_STUB_LIBRARY": Fault(
        "CUDA driver is a stub library",
        "the CUDA library that was found is a compiler's stub and no driver",
        "install the NVIDIA driver, or take the stub's folder out of LD_LIBRARY_PATH",
    ),
    "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER": Fault(
        "API call is not supported in the installed CUDA driver", "the NVIDIA driver is too old", _NEWER
    ),
    "CUDA_ERROR_INSUFFICIENT_DRIVER": Fault(
        "CUDA driver version is insufficient for CUDA runtime version",
        "the NVIDIA driver is too old",
        _NEWER,
    ),
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": Fault(
        "system has unsupported display driver / cuda driver combination",
        "the driver in memory and its libraries on disk are of different versions",
        "restart the computer",
    ),
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": Fault(
        "forward compatibility was attempted on non supported HW",
        "this GPU takes no CUDA library that is newer than its driver",
        "install a newer NVIDIA driver, or take the cuda-compat folder out of LD_LIBRARY_PATH",
    ),
    "CUDA_ERROR_SYSTEM_NOT_READY": Fault(
        "system not yet initialized",
        "a service that the GPU needs is not running",
        "start nvidia-fabricmanager, or ask the machine's administrator",
    ),
    "CUDA_ERROR_NOT_INITIALIZED": Fault(
        "initialization error",
        "the driver could not start",
        f"restart the computer if its driver was updated, else {_LOOK}",
    ),
    "CUDA_ERROR_DEVICE_UNAVAILABLE": Fault(
        "CUDA-capable device(s) is/are busy or unavailable",
        "another process holds the GPU for itself, or the GPU is being reset",
        "end that process (nvidia-smi lists it), or set the compute mode to default",
    ),
    "CUDA_ERROR_DEVICE_NOT_LICENSED": Fault(
        "device doesn't have valid Grid license",
        "this virtual GPU has no licence",
        "ask the machine's administrator for a vGPU licence",
    ),
    "CUDA_ERROR_INVALID_IMAGE": Fault(
        "device kernel image is invalid", "the kernels' file is damaged", _INSTALL
    ),
    "CUDA_ERROR_NO_BINARY_FOR_GPU": Fault(
        "no kernel image is available for execution on the device",
        "the kernels were built for other GPUs",
        "update DMN if the GPU is new (a GPU of compute capability below 7.5 is not supported), or run on "
        "the processor",
    ),
    "CUDA_ERROR_INVALID_PTX": Fault(
        "a PTX JIT compilation failed", "the driver could not compile the kernels for this GPU", _NEWER
    ),
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": Fault(
        "the provided PTX was compiled with an unsupported toolchain.",
        "the driver is too old for the kernels",
        _NEWER,
    ),
    "CUDA_ERROR_JIT_COMPILER_NOT_FOUND": Fault(
        "PTX JIT compiler library not found",
        "a library of the driver is missing (nvidia-ptxjitcompiler)",
        "install the whole NVIDIA driver",
    ),
    "CUDA_ERROR_JIT_COMPILATION_DISABLED": Fault(
        "PTX JIT compilation was disabled",
        "the kernels must be compiled for this GPU and CUDA_DISABLE_PTX_JIT forbids it",
        "unset CUDA_DISABLE_PTX_JIT",
    ),
    "CUDA_ERROR_NOT_FOUND": Fault("named symbol not found", "there is none of that name", _INSTALL),
    "CUDA_ERROR_ILLEGAL_ADDRESS": Fault(
        "an illegal memory access was encountered",
        "work on the GPU reached outside its memory",
        _AGAIN,
    ),
    "CUDA_ERROR_MISALIGNED_ADDRESS": Fault(
        "misaligned address", "work on the GPU used an address that is not aligned", _REPORT
    ),
    "CUDA_ERROR_ILLEGAL_INSTRUCTION": Fault(
        "an illegal instruction was encountered", "the GPU met an instruction that it does not know", _AGAIN
    ),
    "CUDA_ERROR_HARDWARE_STACK_ERROR": Fault(
        "hardware stack error", "work on the GPU broke its call stack", _AGAIN
    ),
    "CUDA_ERROR_ASSERT": Fault(
        "device-side assert triggered", "a check inside the work on the GPU failed", _REPORT
    ),
    "CUDA_ERROR_LAUNCH_FAILED": Fault("unspecified launch failure", "work on the GPU broke off", _AGAIN),
    "CUDA_ERROR_LAUNCH_TIMEOUT": Fault(
        "the launch timed out and was terminated",
        "the system stopped work on the GPU that held up its display",
        "take a smaller batch, or a GPU that drives no display",
    ),
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES": Fault(
        "too many resources requested for launch", "a kernel wants more registers than fit", _REPORT
    ),
    "CUDA_ERROR_INVALID_VALUE": Fault("invalid argument", "the driver refuses what it was given", _REPORT),
    "CUDA_ERROR_INVALID_CONTEXT": Fault(
        "invalid device context", "this thread has not made the GPU its own", _REPORT
    ),
    "CUDA_ERROR_INVALID_HANDLE": Fault("invalid resource handle", "it was used after its end", _REPORT),
    "CUDA_ERROR_NOT_READY": Fault("device not ready", "its work is not done yet", _REPORT),
    "CUDA_ERROR_ECC_UNCORRECTABLE": Fault(
        "uncorrectable ECC error encountered",
        "the GPU's memory is faulty at some place (an ECC error)",
        "restart the computer, and have the GPU examined if it comes back",
    ),
    "CUDA_ERROR_NVLINK_UNCORRECTABLE": Fault(
        "uncorrectable NVLink error detected during the execution",
        "the link between GPUs failed",
        "restart the computer, and have the GPU examined if it comes back",
    ),
    "CUDA_ERROR_NOT_PERMITTED": Fault(
        "operation not permitted",
        "the system does not permit it",
        "ask the machine's administrator for the right to use the GPU",
    ),
    "CUDA_ERROR_NOT_SUPPORTED": Fault(
        "operation not supported", "this GPU or its driver cannot do it", f"{_NEWER}, or run on the processor"
    ),
    "CUDA_ERROR_OPERATING_SYSTEM": Fault(
        "OS call failed or operation not supported on this OS",
        "the operating system refused",
        "look at the limits on locked memory (ulimit -l) and at /dev/nvidia*",
    ),
    "CUDA_ERROR_MPS_CONNECTION_FAILED": Fault(
        "MPS client failed to connect to the MPS control daemon or the MPS server",
        "the service that shares the GPU (MPS) does not answer",
        "start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY",
    ),
    "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED": Fault(
        "the hardware resources required to create MPS client have been exhausted",
        "too many processes share the GPU (MPS)",
        "end some of them",
    ),
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": Fault(
        "operation not permitted when stream is capturing",
        "some of the work cannot be captured in a graph",
        "run without graphs",
    ),
    "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": Fault(
        "operation failed due to a previous error during capture",
        "some of the work cannot be captured in a graph",
        "run without graphs",
    ),
    "CUDA_ERROR_UNKNOWN": Fault(
        "unknown error", "the driver does not know why", "restart the computer, as after a sleep or an update"
    ),
}
"""Name of the error -> what it means."""

NO_DRIVER = Fault("", "no NVIDIA driver was found", "install it, or run on the processor")
"""Not the driver's words, since there is none: what is said where its library is missing."""

_NAME_OF = {fault.text: name for name, fault in FAULTS.items()}
_NAME = re.compile(r"CUDA_ERROR_\w+")
_TEXT = re.compile(r"\w+ failed: (.+?)(?: -.*)?")
_DRIVER_LIBRARY = re.compile(r"libcuda\.so\.1|nvcuda\.dll|NVIDIA driver library", re.IGNORECASE)
_MISSING_FUNCTION = re.compile(r"undefined symbol: cu[A-Z]|[Ff]unction \W?cu[A-Z]\w+\W? (is )?not found")
_MOST_CHARACTERS = 200


def driver_error(what: str, said: object) -> EngineError:
    """Return the error to raise when the driver refuses.

    Args:
        what: what failed, as a clause ("GPU 0 cannot be opened").
        said: an error's name, or a library's exception or message that holds its name or its text.

    Returns:
        a GpuMemoryError where memory is short, else an EngineError; its message is one sentence.
    """
    words = " ".join(str(said).split())
    name = error_name(words)
    kind = GpuMemoryError if name == OUT_OF_MEMORY else EngineError
    if name in FAULTS:
        return kind(f"{what}, since {FAULTS[name].happened} ({name}): {FAULTS[name].mend}")
    if _DRIVER_LIBRARY.search(words):
        return EngineError(f"{what}, since {NO_DRIVER.happened}: {NO_DRIVER.mend}")
    return EngineError(f"{what} ({name or words[:_MOST_CHARACTERS]}): {_LOOK}")


def error_name(words: str) -> str | None:
    """Return the name of the error that is told in `words`, None where none is recognised."""
    named = _NAME.search(words)
    if named:
        return named[0]
    if _MISSING_FUNCTION.search(words):
        return "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"
    told = _TEXT.fullmatch(words)
    return _NAME_OF.get(told[1]) if told else None
