"""The run of `--init`: neither it nor any run that it comes from may have labels of the target."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dmn_runtime.errors import UsageError
from dmn_runtime.normalise import fit_map, histogram
from dmn_runtime.volume.open import open_volume
from dmn_train.file_times import fingerprint_holds_times
from dmn_train.lineage import lineage
from dmn_train.run import Run, load_run
from dmn_train.study.overlap import same_file


def check_init(init: Path, target: str, fingerprint: str) -> None:
    """Refuse a run to begin from that knows the labels of the volume to be adapted to without labels.

    Args:
        init: the run's folder.
        target: full path of the volume.
        fingerprint: the volume's.

    Raises:
        UsageError: the run, or one that it started from or was taught by, learned from the target's labels.
        RunError: the folder holds no finished run, or one of them is damaged.
    """
    first = load_run(init)
    for run in lineage(first):
        if any(_is_target(origin, run, target, fingerprint) for origin in _labelled(run)):
            comes = "" if run is first else f"comes from {run.folder}, which "
            raise UsageError(
                f"--init {init} {comes}learned from labels of the target {target}, and nothing is adapted "
                "without labels that way: begin from a run on the source alone, or leave out --init"
            )


def _labelled(run: Run) -> list[dict[str, Any]]:
    return [origin for origin in run.facts["data"] if origin["role"] == "source"]


def _is_target(origin: dict[str, Any], run: Run, target: str, fingerprint: str) -> bool:
    """Tell whether a volume that a run has labels of is, or may be, the target.

    A large volume's fingerprint holds file times, which do not outlast a copy: there the place, or else the
    shape and the map of intensities, which is made of the content, must agree.
    """
    if origin["fingerprint"] == fingerprint:
        return True
    if not fingerprint_holds_times(target):
        return False
    return same_file(run.placed.locate(origin["name"]), target) or _looks_like(origin, run, target)


def _looks_like(origin: dict[str, Any], run: Run, target: str) -> bool:
    with open_volume(target) as volume:
        if list(volume.shape) != list(origin["shape"]):
            return False
        found = asdict(fit_map(histogram(volume), run.normalisation, target))
    return bool(found == origin["map"])
