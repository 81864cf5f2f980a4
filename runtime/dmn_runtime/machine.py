"""Facts about the computer: what reports record, and what `dmn doctor` speaks of."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX INT8",
    "asimddp": "NEON dot product",
    "i8mm": "NEON INT8 matrix",
}
"""Flag of the Linux kernel -> the name people know, for sets that speed up convolutions."""


@dataclass(frozen=True)
class Machine:
    """The computer. `logical_cores`: those this process may use; `memory_bytes`: None where it is unknown."""

    cpu: str
    logical_cores: int
    memory_bytes: int | None
    os: str


def machine_facts() -> Machine:
    """Return the facts of this computer."""
    return Machine(cpu_model(), logical_cores(), memory_bytes(), platform.platform())


def logical_cores() -> int:
    """Return how many logical cores this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505 (mypy knows platform branches by if and else alone)
        return possible_cores()


def possible_cores() -> int:
    """Return how many logical cores this computer has, whether this process may use them or not."""
    return os.cpu_count() or 1


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name; the architecture where the system does not tell more."""
    named = _cpuinfo_field(cpuinfo, "model name")
    return named or platform.processor() or platform.machine()


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...] | None:
    """Return the instruction sets that speed up convolutions, or None where the system does not tell."""
    flags = _cpuinfo_field(cpuinfo, "flags") or _cpuinfo_field(cpuinfo, "Features")
    if flags is None:
        return None
    present = set(flags.split())
    return tuple(name for flag, name in INSTRUCTION_SETS.items() if flag in present)


def _cpuinfo_field(cpuinfo: Path, key: str) -> str | None:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def memory_bytes(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Return the memory of this computer, or the container's limit where that is lower; None if unknown."""
    physical = _physical_bytes()
    try:
        allowed = limit.read_text(encoding="ascii").strip()
    except OSError:  # no container, or not Linux
        return physical
    if physical is None or not allowed.isdigit():  # "max" is no limit
        return physical
    return min(physical, int(allowed))


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX of sysinfoapi.h."""

        _fields_ = (
            ("length", wintypes.DWORD),
            ("load", wintypes.DWORD),
            ("total_physical", ctypes.c_uint64),
            ("available_physical", ctypes.c_uint64),
            ("total_page_file", ctypes.c_uint64),
            ("available_page_file", ctypes.c_uint64),
            ("total_virtual", ctypes.c_uint64),
            ("available_virtual", ctypes.c_uint64),
            ("available_extended_virtual", ctypes.c_uint64),
        )

    class _MemoryCounters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("peak_paged_pool", ctypes.c_size_t),
            ("paged_pool", ctypes.c_size_t),
            ("peak_nonpaged_pool", ctypes.c_size_t),
            ("nonpaged_pool", ctypes.c_size_t),
            ("page_file", ctypes.c_size_t),
            ("peak_page_file", ctypes.c_size_t),
        )

    def _physical_bytes() -> int | None:
        status = _MemoryStatus()
        status.length = ctypes.sizeof(status)
        known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.total_physical) if known else None

    def peak_rss_bytes() -> int | None:
        """Return the largest resident memory of this process so far; None if the system does not tell."""
        counters = _MemoryCounters()
        counters.size = ctypes.sizeof(counters)
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
        process = kernel.GetCurrentProcess()
        known = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
        return int(counters.peak_working_set) if known else None

else:
    import resource

    def _physical_bytes() -> int | None:
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):  # the system does not know the name
            return None

    def peak_rss_bytes() -> int | None:
        """Return the largest resident memory of this process so far; None if the system does not tell."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
