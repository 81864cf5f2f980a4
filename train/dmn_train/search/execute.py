"""Running the jobs of a search: finished runs are taken as they are, unfinished ones are gone on with."""

from collections.abc import Callable
from pathlib import Path

from dmn_runtime.errors import OutputError, RunError, VolumeError
from dmn_train.files import translate_write_errors, write_text
from dmn_train.loop import train
from dmn_train.material import load_material
from dmn_train.run import RUN_JSON, STARTED_JSON, load_run
from dmn_train.search.plan import Job, Plan
from dmn_train.search.table import Result, as_csv, as_markdown, ranked

CSV = "search.csv"
MARKDOWN = "search.md"


def run_search(plan: Plan, folder: Path, tell: Callable[[Result, bool], None]) -> tuple[Result, ...]:
    """Train what is not yet trained and keep the tables in `folder` up to date.

    Args:
        plan: the search.
        folder: where the runs and tables are; made if missing.
        tell: called for every job in turn with its result and whether its run was there already.

    Returns:
        The results in the order of the plan's jobs.

    Raises:
        DmnError: the data or a folder is not as it must be.
        KeyboardInterrupt: stopped by a signal; the same call goes on.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, wanted a folder for the search: choose another -o")
    finished = [_finished(job, folder) for job in plan.jobs]
    _check_folds([job for job, former in zip(plan.jobs, finished, strict=True) if former is None])
    with translate_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    results: tuple[Result, ...] = ()
    for job, former in zip(plan.jobs, finished, strict=True):
        result = former or _trained(job, folder)
        results = (*results, result)
        write_text(folder / CSV, as_csv(results))
        write_text(folder / MARKDOWN, as_markdown(ranked(results)))
        tell(result, former is not None)
    return results


def _finished(job: Job, folder: Path) -> Result | None:
    """Return the result of a finished run, None where there is none.

    Raises:
        RunError: the run is damaged or was made from another recipe.
    """
    place = folder / job.folder
    if not (place / RUN_JSON).is_file():
        return None
    run = load_run(place)
    if run.placed.recipe != job.placed.recipe:
        raise RunError(f"{place} holds a run of another recipe: choose another -o, or delete that folder")
    return Result(job, float(run.facts["held_out_iou"]), float(run.facts["wall_s"]))


def _trained(job: Job, folder: Path) -> Result:
    place = folder / job.folder
    train(job.placed, place, resume=(place / STARTED_JSON).is_file())
    result = _finished(job, folder)
    assert result is not None
    return result


def _check_folds(jobs: list[Job]) -> None:
    """Refuse folds that nothing can be scored on: without foreground, IoU is 0 or 1 whatever is learnt.

    Raises:
        VolumeError: names the first such fold.
    """
    for fold, job in {job.fold: job for job in jobs}.items():
        held_out = load_material(job.placed).held_out
        if not any(len(stack.foreground) for stack in held_out):
            raise VolumeError(
                f"{fold.held_out} of {held_out[0].name}, held out by {fold.name}, hold no foreground to "
                "score on: take fewer folds"
            )
