"""Whether an entry can be used on this machine, as it is now."""

from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from dmn_runtime.engine_cache.key import LIBRARIES, EngineKey, Library, Platform, this_platform
from dmn_runtime.engine_cache.listing import Entry
from dmn_runtime.gpu.inquiry import Gpu, visible_gpus

State = Literal[
    "ready", "other library version", "other driver", "other GPU", "for other machines", "damaged"
]

DISTRIBUTIONS: dict[Library, tuple[str, ...]] = {
    "tensorrt": ("tensorrt-cu13", "tensorrt"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx"),
}
"""Library -> the distributions that bring it."""


@dataclass(frozen=True)
class Here:
    """What decides here: version of each library (None: not installed), the GPUs, the platform."""

    versions: dict[Library, str | None]
    gpus: tuple[Gpu, ...]
    platform: Platform | None


def find_here() -> Here:
    """Ask this machine; no library is imported."""
    return Here(
        {library: installed_version(library) for library in LIBRARIES}, visible_gpus(), this_platform()
    )


def installed_version(library: Library) -> str | None:
    """Return the full version of `library`, None if it is not installed; it is not imported."""
    for name in DISTRIBUTIONS[library]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def state_of(entry: Entry, here: Here) -> State:
    """Return whether the entry can be used here, or the first reason why not.

    An engine that was built for named targets or another platform, and not for the GPU of this machine, is
    "for other machines" where it does not run here: it was made on purpose, so that does not make it stale.
    """
    if entry.record is None:
        return "damaged"
    key = entry.record.key
    if key.library_version != here.versions[key.library]:
        return "other library version"
    if key.platform != here.platform:
        return "for other machines"
    return _portable_state(key, here) if not key.device else _bound_state(key, here)


def _portable_state(key: EngineKey, here: Here) -> State:
    present = {f"SM{(gpu.compute_capability or '').replace('.', '')}" for gpu in here.gpus}
    runs = bool(present & set(key.targets)) if key.targets else bool(present)
    return "ready" if runs else "for other machines"


def _bound_state(key: EngineKey, here: Here) -> State:
    same = [gpu for gpu in here.gpus if gpu.device == key.device]
    if not same:
        return "other GPU"
    return "ready" if any(gpu.driver_version == key.driver for gpu in same) else "other driver"
