"""What makes two engines the same: every fact that a plan depends on, and one digest of them."""

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Library = Literal["tensorrt", "tensorrt_rtx"]
LIBRARIES: tuple[Library, ...] = ("tensorrt", "tensorrt_rtx")

Platform = Literal["linux_x86_64", "windows_x86_64"]
PLATFORMS: tuple[Platform, ...] = ("linux_x86_64", "windows_x86_64")


@dataclass(frozen=True)
class EngineKey:
    """All that a plan depends on; two engines are the same where these are.

    Attributes:
        onnx_sha256: of the ONNX file, 64 lower-case hex digits.
        library: the import name of the TensorRT that builds and runs the plan.
        library_version: its full version; plans of another version are not loaded.
        device: name and compute capability of the GPU (`Gpu.device`); "" for a plan built for `targets` only.
        driver: the driver's version; "" as above.
        precision: name in the package ("fp16").
        profile: the builder's tile profile, JSON-able with texts as keys; kept as a copy in JSON's own types.
        targets: compute capabilities asked for, such as ("SM86", "SM89"); empty for this GPU.
        platform: where the plan runs.
        recipe: version of the builder's settings; a change of the settings makes other engines.
    """

    onnx_sha256: str
    library: Library
    library_version: str
    device: str
    driver: str
    precision: str
    profile: dict[str, Any] = field(hash=False)
    targets: tuple[str, ...]
    platform: Platform
    recipe: int

    def __post_init__(self) -> None:
        # The copy in JSON's types makes a key equal to itself read back (tuples are lists in JSON).
        object.__setattr__(self, "profile", json.loads(_canonical(self.profile)))
        object.__setattr__(self, "targets", tuple(self.targets))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's own types."""
        return asdict(self) | {"targets": list(self.targets)}

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON, 64 lower-case hex digits: the name of the engine's folder."""
        return hashlib.sha256(_canonical(self.to_json()).encode("ascii")).hexdigest()


def this_platform() -> Platform | None:
    """Return the word for this operating system and processor, None where TensorRT does not run."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    words: dict[str, Platform] = {"linux": "linux_x86_64", "win32": "windows_x86_64"}
    return words.get(sys.platform)


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
