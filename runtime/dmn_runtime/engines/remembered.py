"""What engines were found to do on this machine, kept between runs until something that matters changes.

One JSON file a state of affairs: package, processor, GPUs and their driver, libraries, DMN. A file that
cannot be read, or is of another state, is no news: the engines are examined again.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dmn_runtime._version import __version__
from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.certificate.parity import Parity
from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.contract import Contract
from dmn_runtime.engine_cache.here import DISTRIBUTIONS
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.trial import Trial
from dmn_runtime.errors import OutputError
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.machine import cpu_model, instruction_sets, logical_cores
from dmn_runtime.whole_file import whole_file

FORMAT_VERSION = 2
LIBRARIES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "cuda-core",
    "cuda-bindings",
    *(name for names in DISTRIBUTIONS.values() for name in names),
)
"""Distributions of which another version may compute or rank otherwise."""

VARIABLES = ("ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE")
"""Environment variables that change what a library computes, or on what."""

_NOT_OF_VOLUME = ("package", "workers", "edge_px")
"""Facts that a finding on the owner's volume does not depend on: a copy of the package with engines for other
GPUs holds the same networks."""


@dataclass(frozen=True)
class State:
    """All that the finding depends on; `facts` is JSON."""

    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Return the sha256 (hex) of the facts."""
        text = json.dumps(self.facts, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def of_volume(self) -> "State":
        """Return what a finding on the owner's volume depends on: the networks, not file or run."""
        return State({key: value for key, value in self.facts.items() if key not in _NOT_OF_VOLUME})


def networks_of(contract: Contract) -> dict[str, str]:
    """Return precision -> sha256 (hex) of the member that holds its network."""
    return {name: contract.members[precision.member] for name, precision in contract.precisions.items()}


def state_of(package_sha256: str, networks: Mapping[str, str], workers: int, edge_px: int) -> State:
    """Return the present state of affairs for a package.

    Args:
        package_sha256: of the package's file.
        networks: of the package, from `networks_of`.
        workers: threads that call at once.
        edge_px: of the largest tile, halo included.
    """
    return State(
        {
            "format_version": FORMAT_VERSION,
            "dmn": __version__,
            "package": package_sha256,
            "networks": dict(networks),
            "cpu": cpu_model(),
            "instruction_sets": list(instruction_sets() or ()),
            "logical_cores": logical_cores(),
            "gpus": [[gpu.name, gpu.driver_version] for gpu in visible_gpus()],
            "libraries": {name: _version(name) for name in LIBRARIES},
            "variables": {name: os.environ.get(name) for name in VARIABLES},
            "workers": workers,
            "edge_px": edge_px,
        }
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def recall(state: State) -> dict[Candidate, Trial]:
    """Return what is known for a state; empty where nothing is, or what there is cannot be read."""
    try:
        trials = [_trial(entry) for entry in _read(_path(state), state)["trials"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {trial.candidate: trial for trial in trials}


def remember(state: State, trials: Iterable[Trial]) -> str | None:
    """Keep trials for next time; return why they cannot be kept, None where they are.

    A candidate that did not run at all is not kept: what hindered it may be gone next time.
    """
    kept = [asdict(trial) for trial in trials if trial.parity is not None]
    return _write(_path(state), {"state": state.facts, "trials": kept})


def recall_faults(state: State) -> dict[Candidate, str]:
    """Return what failed on the owner's volume and why, whatever the run's workers and tiles."""
    own = state.of_volume()
    try:
        entries = _read(_volume_path(own), own)["faults"]
        return {Candidate(str(entry[0]), str(entry[1])): str(entry[2]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return {}


def remember_faults(state: State, faults: Mapping[Candidate, str | None]) -> str | None:
    """Keep what failed on the owner's volume, forget what passed (None); return why it cannot be kept."""
    own = state.of_volume()
    known: dict[Candidate, str | None] = {**recall_faults(state), **faults}
    entries = [[one.engine, one.precision, why] for one, why in known.items() if why is not None]
    return _write(_volume_path(own), {"state": own.facts, "faults": entries})


def _read(path: Path, state: State) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document["state"] != state.facts:
        raise ValueError("of another state")
    return document


def _write(path: Path, document: dict[str, Any]) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, "record of engines") as partial:
            partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except (OSError, OutputError) as error:
        return str(error)
    return None


def _volume_path(state: State) -> Path:
    return cache_folder() / "machine" / f"volume-{state.digest}.json"


def _path(state: State) -> Path:
    return cache_folder() / "machine" / f"{state.digest}.json"


def _trial(entry: dict[str, Any]) -> Trial:
    parity, speed, fault = entry["parity"], entry["voxels_per_s"], entry["fault"]
    return Trial(
        Candidate(**entry["candidate"]),
        str(entry["description"]),
        float(entry["threshold"]),
        Tolerance(**entry["tolerance"]),
        None if parity is None else Parity(**parity),
        None if speed is None else float(speed),
        None if fault is None else str(fault),
        str(entry["race"]),
    )
