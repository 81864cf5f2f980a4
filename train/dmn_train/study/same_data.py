"""Whether all runs of a study saw the same data: the last parts of a path alone do not say so."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import RunError
from dmn_train.file_times import fingerprint_holds_times
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import Run
from dmn_train.sections import SourceSection, TargetSection
from dmn_train.study.job import Job

KEPT_PARTS = 2  # of a volume's path, as dmn_train.study.state compares recipes


@dataclass(frozen=True)
class _Copy:
    """A volume as one run saw it.

    Attributes:
        run: id of the job.
        path: where the volume lies on this machine, if it does.
        fingerprint: that the run recorded.
        shape: of the part that was used, zyx.
        rule: of normalisation; None of a mask.
        map: of intensities, that the rule made of the content; None of a mask.
    """

    run: str
    path: str
    fingerprint: str
    shape: list[int]
    rule: Normalisation | None = None
    map: dict[str, float] | None = None

    def is_like(self, other: "_Copy") -> bool:
        """Tell whether all that is recorded beside the fingerprint may be of the same content."""
        return self.shape == other.shape and (self.rule != other.rule or self.map == other.map)


def check_same_data(runs: Mapping[str, tuple[Job, Run]]) -> None:
    """Refuse runs that call different data by the same name.

    Runs must agree in the fingerprint of a volume whose path ends alike and of which the same part was looked
    at: of a target its slices and columns, of a source its columns in all slices, whichever are trained on.
    The fingerprint of a large volume holds file times, so that a copy has another one; where such a volume's
    differ, what else the runs recorded must agree: the shape and, under one rule of normalisation, the map of
    intensities.

    Args:
        runs: finished ones by the id of their job.

    Raises:
        RunError: names two runs and the volume that differs.
    """
    copies: dict[tuple[Any, ...], list[_Copy]] = defaultdict(list)
    for job_id, (job, run) in runs.items():
        for key, copy in _copies(job_id, job.placed or run.placed, run.facts):
            copies[key].append(copy)
    for first, *others in copies.values():
        unlike = [one for one in others if one.fingerprint != first.fingerprint]
        if unlike and fingerprint_holds_times(first.path):
            unlike = [one for one in unlike if not one.is_like(first)]
        if unlike:
            raise RunError(
                f"{first.run} and {unlike[0].run} saw different data under the name {_name(first.path)} "
                "(what their run.json record of it differs): move the run of the wrong data away"
            )


def _copies(run: str, placed: PlacedRecipe, facts: dict[str, Any]) -> list[tuple[tuple[Any, ...], _Copy]]:
    source, rule = placed.recipe.data.source, placed.recipe.normalisation.rule
    sections: list[tuple[SourceSection | TargetSection, dict[str, Any]]] = []
    if source.image is not None:
        sections += [(source, one) for one in facts["data"] if one["role"] == "source"]
    targets = [one for one in facts["data"] if one["role"] == "target"]
    sections += zip(placed.recipe.data.target, targets, strict=True)
    found = []
    for section, seen in sections:
        # Shape and map of a source are of all slices, whichever of them are trained on.
        part = (section.slices if isinstance(section, TargetSection) else None, section.columns)
        image = placed.locate(section.image or "")
        copy = _Copy(run, image, seen["fingerprint"], seen["shape"], rule, seen["map"])
        found.append(((_name(image), *part), copy))
        if isinstance(section, SourceSection) and section.mask is not None:
            mask = placed.locate(section.mask)
            found.append(((_name(mask), *part), _Copy(run, mask, seen["mask_fingerprint"], seen["shape"])))
    return found


def _name(path: str) -> str:
    return "/".join(Path(path).parts[-KEPT_PARTS:])
