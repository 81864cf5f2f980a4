"""No run may have learned from labels of what it is tested on, nor may any run that it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

from dmn_train.lineage import lineage, run_at, starts_of
from dmn_train.recipe import PlacedRecipe
from dmn_train.study.job import Job
from dmn_train.study.overlap import Part, labelled_parts


def labels_under_test(
    jobs: tuple[Job, ...], recipes: Mapping[str, PlacedRecipe], tests: Mapping[str, Part]
) -> str | None:
    """Say which run has labels of the part that it is tested on, and what to do; None if none has.

    A run has the labels that its recipe reads, held-out ones too, and those of the runs that gave it its
    first weights or taught it. These are jobs, or finished runs from elsewhere, of which run.json is read; so
    it is of a job that is taken as it is. What is not there (yet) is passed over.

    Args:
        jobs: a plan.
        recipes: of its jobs by id; a job whose recipe is neither here nor in its folder is passed over.
        tests: the part that is tested by protocol.

    Raises:
        RunError: a run that a job comes from is damaged.
    """
    family = _Family(jobs, recipes)
    for job in jobs:
        readers = list(family.of(job)) if job.protocols else []
        for protocol in job.protocols:
            for one in readers:
                if any(part.overlaps(tests[protocol]) for part in one.parts):
                    return _sentence(job, one, protocol, Path(tests[protocol].path))
    return None


@dataclass(frozen=True)
class _Reader:
    """A run that reads labels.

    Attributes:
        name: id of its job, or its folder.
        parts: that it reads labels of.
        job: None for a run from elsewhere.
    """

    name: str
    parts: list[Part]
    job: Job | None = None


@final
class _Family:
    """Jobs and all that they come from; every folder is read once."""

    def __init__(self, jobs: tuple[Job, ...], recipes: Mapping[str, PlacedRecipe]) -> None:
        self._by_id = {job.id: job for job in jobs}
        self._by_folder = {job.folder.resolve(): job for job in jobs}
        self._recipes = recipes
        self._run_at = cache(run_at)
        self._elsewhere = cache(self._read_elsewhere)

    def of(self, job: Job) -> Iterator[_Reader]:
        """Yield a job and those that it comes from, each once."""
        yield from self._of(job, set())

    def _of(self, job: Job, seen: set[str]) -> Iterator[_Reader]:
        if job.id in seen:
            return
        seen.add(job.id)
        placed = self._recipe_of(job)
        yield _Reader(job.id, labelled_parts(placed) if placed else [], job)
        for before in job.depends_on:
            yield from self._of(self._by_id[before], seen)
        if job.recipe is None:
            yield from self._elsewhere(job.folder)[1:]
        elif placed is not None:
            yield from self._named_by(placed, seen)

    def _named_by(self, placed: PlacedRecipe, seen: set[str]) -> Iterator[_Reader]:
        for folder in starts_of(placed):
            planned = self._by_folder.get(folder.resolve())
            if planned is not None:
                yield from self._of(planned, seen)
            else:
                yield from self._elsewhere(folder)

    def _recipe_of(self, job: Job) -> PlacedRecipe | None:
        run = self._run_at(job.folder) if job.recipe is None else None
        return self._recipes.get(job.id) or (run.placed if run else None)

    def _read_elsewhere(self, folder: Path) -> list[_Reader]:
        """Return the run of a folder, if it is there, and after it those that it comes from."""
        run = self._run_at(folder)
        ones = [] if run is None else lineage(run)
        return [_Reader(str(one.folder), labelled_parts(one.placed)) for one in ones]


def _sentence(job: Job, one: _Reader, protocol: str, image: Path) -> str:
    who = job.id if one.job is job else f"{one.name}, from which {job.id} comes,"
    return (
        f"{who} has labels of the part of {'/'.join(image.parts[-2:])} that {protocol} tests on: "
        f"{_remedy(one.job)}, or test on another part"
    )


def _remedy(job: Job | None) -> str:
    if job is None:
        return "start or learn from another run"
    key = "finetune.set.data.source" if job.fraction is not None else "data.source"
    return f"give {key} other slices or columns"
