"""`dmn study`: many trainings as one question, with table and figures."""

from pathlib import Path
from typing import Annotated

import typer

from dmn_runtime.errors import UsageError
from dmn_runtime.terminating import terminating
from dmn_train.study.collect import collect
from dmn_train.study.execute import End, Told, execute
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy, load_study
from dmn_train.study.plan import plan_study
from dmn_train.study.present import check_present
from dmn_train.study.report import write_report
from dmn_train.study.state import State, states_of
from dmn_train.study.test_volume import TestVolume


def command(
    study: Annotated[Path, typer.Argument(help="The study, a TOML file (docs/study.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the runs, scores and figures.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Trainings at a time.")] = 1,
    report_to: Annotated[
        Path | None, typer.Option("--report-to", help="Folder of the report; the runs' folder if not given.")
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing: report on the runs that are finished.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Train every run of a study that is not finished yet, score them on labelled volumes, and report."""
    if dry_run and report_only:
        raise UsageError("--dry-run writes nothing and --report-only writes a report: give one of the two")
    placed = load_study(study)
    plan = plan_study(placed, output)
    states = states_of(plan)
    if not report_only:
        check_present(plan, states)
    if dry_run:
        _tell_plan(plan, states)
        return
    tests = {p.name: TestVolume(p.test, placed.folder) for p in placed.study.protocol}
    ends = {} if report_only else _execute(placed, plan, states, tests, jobs)
    _report(placed, plan, tests, output, report_to or output)
    failed = [job_id for job_id, end in ends.items() if end is not End.DONE]
    if failed:
        typer.echo(f"{len(failed)} of {len(plan)} runs are missing: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def _tell_plan(plan: tuple[Job, ...], states: dict[str, State]) -> None:
    for job in plan:
        after = f", after {', '.join(job.depends_on)}" if job.depends_on else ""
        typer.echo(f"{job.id}: {states[job.id].value}{after}")
    missing = sum(state is not State.FINISHED for state in states.values())
    typer.echo(f"{len(plan)} runs, {missing} of them to train")


def _execute(
    placed: PlacedStudy,
    plan: tuple[Job, ...],
    states: dict[str, State],
    tests: dict[str, TestVolume],
    at_once: int,
) -> dict[str, End]:
    for test in tests.values():
        test.check()
    with terminating():
        structures = placed.study.structures
        return execute(plan, states, tests, at_once=at_once, tell=_tell, structures=structures)


def _tell(told: Told) -> None:
    typer.echo(f"{told.done}/{told.of}  {told.job.id}: {told.end.value}, {told.words}", err=True)


def _report(
    placed: PlacedStudy, plan: tuple[Job, ...], tests: dict[str, TestVolume], output: Path, to: Path
) -> None:
    structures = placed.study.structures
    collection = collect(plan, states_of(plan), tests, output, structures=structures)
    for path in write_report(placed, collection, tests, output, to):
        typer.echo(str(path))
