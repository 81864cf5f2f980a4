"""For whom a plan is built: families of GPUs and an operating system, from the words of `dmn build --for`."""

import platform
import sys
from dataclasses import dataclass

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.library import TENSORRT_RTX

LINUX = "linux_x86_64"
WINDOWS = "windows_x86_64"


@dataclass(frozen=True)
class Family:
    """GPUs that run the same plans. `word`: of `--for`; `capability`: TensorRT's name of it."""

    word: str
    capability: str
    title: str


FAMILIES = (
    Family("rtx20", "SM75", "RTX 20 (Turing)"),
    Family("a100", "SM80", "A100 (Ampere)"),
    Family("rtx30", "SM86", "RTX 30 (Ampere)"),
    Family("rtx40", "SM89", "RTX 40 (Ada)"),
    Family("rtx50", "SM120", "RTX 50 (Blackwell)"),
)
"""Oldest first."""

PLATFORMS = {"linux": LINUX, "windows": WINDOWS}


@dataclass(frozen=True)
class Targets:
    """Who shall run a plan.

    Attributes:
        compute_capabilities: such as ("SM86", "SM89"), oldest first; empty: the GPU of this computer.
        platform: `LINUX` or `WINDOWS`.
    """

    compute_capabilities: tuple[str, ...]
    platform: str


def this_platform() -> str:
    """Return the platform of this computer.

    Raises:
        EngineError: TensorRT is not made for it.
    """
    system = "windows" if sys.platform == "win32" else sys.platform
    if system not in PLATFORMS or platform.machine().lower() not in ("x86_64", "amd64"):
        raise EngineError(
            f"TensorRT plans are for Linux and Windows on x86-64, this is {system} on {platform.machine()}: "
            "use --engine cpu here"
        )
    return PLATFORMS[system]


def parse_targets(words: str) -> Targets:
    """Read "rtx30,rtx40,windows": any number of families, at most one platform (default: this computer's).

    Raises:
        EngineError: a word is unknown or empty, or two platforms are named.
    """
    given = [word.strip().lower() for word in words.split(",")]
    known = {family.word: family for family in FAMILIES}
    for word in given:
        if word not in known and word not in PLATFORMS:
            raise EngineError(
                f"{word!r} is no target: --for takes {', '.join([*known, *PLATFORMS])}, comma between"
            )
    platforms = {PLATFORMS[word] for word in given if word in PLATFORMS}
    if len(platforms) > 1:
        raise EngineError("one build is for one operating system: name linux or windows, not both")
    capabilities = tuple(family.capability for family in FAMILIES if family.word in given)
    return Targets(capabilities, platforms.pop() if platforms else this_platform())


def family_of(compute_capability: str) -> Family | None:
    """Return the family of a GPU by its compute capability, such as "8.6"; None where DMN names none."""
    wanted = "SM" + compute_capability.replace(".", "")
    return next((family for family in FAMILIES if family.capability == wanted), None)


def may_run(library: str, targets: tuple[str, ...], compute_capability: str) -> bool:
    """Tell whether a plan may run on a GPU, as far as its targets tell.

    Only what was asked for counts: a plan that happens to run on a newer GPU was never certified there.

    Args:
        library: "tensorrt" or "tensorrt_rtx".
        targets: compute capabilities the plan was built for, none empty.
        compute_capability: of the GPU, such as "8.6".
    """
    if library != TENSORRT_RTX and needs_hardware_compatibility(targets):
        return int(compute_capability.partition(".")[0]) >= 8
    return "SM" + compute_capability.replace(".", "") in targets


def needs_hardware_compatibility(targets: tuple[str, ...]) -> bool:
    """Tell whether native TensorRT must build one plan for several families (its level AMPERE_PLUS)."""
    return len(targets) > 1
