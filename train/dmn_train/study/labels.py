"""No run may have learned from labels of what it is tested on, nor may any run that it comes from."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dmn_train.recipe import PlacedRecipe
from dmn_train.study.job import Job
from dmn_train.study.overlap import Part, labelled_parts


def labels_under_test(
    jobs: tuple[Job, ...], recipes: Mapping[str, PlacedRecipe], tests: Mapping[str, Part]
) -> str | None:
    """Say which run has labels of the part that it is tested on, and what to do; None if none has.

    A run has the labels that its recipe reads, held-out ones too, and those of the runs that gave it its
    first weights or taught it.

    Args:
        jobs: a plan.
        recipes: of its jobs by id; a job whose recipe is not known is passed over.
        tests: the part that is tested by protocol.
    """
    parts = {job_id: labelled_parts(recipe) for job_id, recipe in recipes.items()}
    by_id = {job.id: job for job in jobs}
    for job in jobs:
        for protocol in job.protocols:
            for one in _with_ancestors(job, by_id):
                if any(part.overlaps(tests[protocol]) for part in parts.get(one.id, ())):
                    return _sentence(job, one, protocol, Path(tests[protocol].path))
    return None


def _with_ancestors(job: Job, by_id: Mapping[str, Job]) -> Iterator[Job]:
    yield job
    for before in job.depends_on:
        yield from _with_ancestors(by_id[before], by_id)


def _sentence(job: Job, one: Job, protocol: str, image: Path) -> str:
    who = job.id if one is job else f"{one.id}, from which {job.id} comes,"
    remedy = "finetune.set.data.source" if one.fraction is not None else "data.source"
    return (
        f"{who} has labels of the part of {'/'.join(image.parts[-2:])} that {protocol} tests on: "
        f"give {remedy} other slices or columns, or test on another part"
    )
