"""Scored runs gathered from the folders of a plan; what is not there is left out and counted."""

from dataclasses import dataclass
from pathlib import Path

from dmn_runtime.errors import RunError
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import Run, load_run
from dmn_train.study.execute import training_words
from dmn_train.study.job import Job
from dmn_train.study.labels import labels_under_test
from dmn_train.study.overlap import targets_of
from dmn_train.study.result import Result
from dmn_train.study.rules import iou_by_rule
from dmn_train.study.same_data import check_same_data
from dmn_train.study.scored import ensure_scored
from dmn_train.study.state import State
from dmn_train.study.test_volume import TestVolume


@dataclass(frozen=True)
class Collection:
    """What there is of a study.

    Attributes:
        results: one a finished run and protocol that tests it, in the plan's order.
        finished: how many runs are finished.
        planned: how many runs the study has.
        transductive: protocols of which a run adapts to a part, unlabelled, of what is tested.
    """

    results: tuple[Result, ...]
    finished: int
    planned: int
    transductive: frozenset[str] = frozenset()


def collect(
    jobs: tuple[Job, ...],
    states: dict[str, State],
    tests: dict[str, TestVolume],
    output: Path,
    *,
    structures: bool = False,
) -> Collection:
    """Gather the results of every finished job, scoring those that are not yet scored.

    Args:
        jobs: the plan.
        states: of every job, by id.
        tests: the test volume of every protocol.
        output: the study's folder as the user called it.
        structures: whether objects and boundaries are scored too.

    Raises:
        DmnError: a run or a test volume is not as it must be, or runs saw different data by one name.
    """
    finished = {job.id: (job, load_run(job.folder)) for job in jobs if states[job.id] is State.FINISHED}
    check_same_data(finished)
    recipes = [(job, job.placed) for job in jobs if job.placed]
    recipes += [(job, run.placed) for job, run in finished.values() if job.placed is None]
    _check_labels(jobs, recipes, tests)
    results = tuple(
        _result(job, run, protocol, tests[protocol], output, structures=structures)
        for job, run in finished.values()
        for protocol in job.protocols
    )
    return Collection(results, len(finished), len(jobs), _transductive(recipes, tests))


def _check_labels(
    jobs: tuple[Job, ...], recipes: list[tuple[Job, PlacedRecipe]], tests: dict[str, TestVolume]
) -> None:
    """Refuse runs taken as they are that have labels of what is tested; the plan has judged the others."""
    parts = {name: test.part for name, test in tests.items()}
    if (found := labels_under_test(jobs, {job.id: placed for job, placed in recipes}, parts)) is not None:
        raise RunError(found)


def _transductive(recipes: list[tuple[Job, PlacedRecipe]], tests: dict[str, TestVolume]) -> frozenset[str]:
    return frozenset(
        protocol
        for job, placed in recipes
        for protocol in job.protocols
        if any(target.overlaps(tests[protocol].part) for target in targets_of(placed))
    )


def _result(job: Job, run: Run, protocol: str, test: TestVolume, output: Path, *, structures: bool) -> Result:
    score, structure = ensure_scored(job.folder, protocol, test, structures=structures)
    return Result(
        protocol=protocol,
        arm=job.arm,
        fraction=job.fraction,
        seed=job.seed,
        score=score,
        by_rule=iou_by_rule(job.folder, score),
        facts=run.facts,
        run=job.id,
        folder=job.folder,
        command=command_of(job, output),
        structure=structure,
    )


def command_of(job: Job, output: Path) -> str:
    """Return the command that trains a job, for readers elsewhere; "" for a run taken as it is."""
    if job.recipe is None:
        return ""
    words = training_words(job, State.ABSENT)
    inside = {
        str(path): f"{shown(output)}/{path.relative_to(output.resolve())}"
        for path in (job.folder, job.recipe_file)
    }
    return " ".join(["dmn", *(inside.get(word, word) for word in words)])


def shown(path: Path) -> str:
    """Return a path for readers elsewhere: from the working directory, or its name alone."""
    resolved, here = path.resolve(), Path.cwd().resolve()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else resolved.name
