"""A training whose progress is told: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Iterable
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dmn_train.finish import Outcome
from dmn_train.loop import Progress as Told
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import RUN_JSON, load_run


def train_and_tell(placed: PlacedRecipe, folder: Path, *, resume: bool, overwrite: bool) -> Outcome:
    """Train as `dmn_train.loop.train` does, with its progress on standard error.

    Raises:
        DmnError: as `train`.
        KeyboardInterrupt: stopped by a signal; the folder can be resumed, or holds the finished run, which is
            then said.
    """
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            return _with_bar(console, placed, folder, resume=resume, overwrite=overwrite)
        return train(
            placed, folder, resume=resume, overwrite=overwrite, tell=lambda told: _line(told, placed)
        )
    except KeyboardInterrupt:
        if (folder / RUN_JSON).is_file():
            _tell_finished(folder)
        raise


def _tell_finished(folder: Path) -> None:
    """Say of a run that was stopped in its last step that it is whole, and what went wrong in it."""
    typer.echo(f"{folder}: the run is finished, the stop came in its last step", err=True)
    tell_alarms(load_run(folder).facts["alarms"])


def tell_alarms(alarms: Iterable[str]) -> None:
    """Say what went wrong by the method's own word."""
    for sentence in alarms:
        typer.echo(f"warning: {sentence}", err=True)


def _with_bar(
    console: Console, placed: PlacedRecipe, folder: Path, *, resume: bool, overwrite: bool
) -> Outcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(placed.recipe.name, total=placed.recipe.loop.steps, values="")
        held_out = ""

        def tell(told: Told) -> None:
            nonlocal held_out
            if told.iou is not None:
                held_out = f"  held-out source IoU {told.iou:.3f}"
            bar.update(task, completed=told.done, values=f"loss {told.loss:.3f}{held_out}")

        return train(placed, folder, resume=resume, overwrite=overwrite, tell=tell)


def _line(told: Told, placed: PlacedRecipe) -> None:
    if told.iou is None and told.done % placed.recipe.log.every and told.done != told.steps:
        return
    held_out = "" if told.iou is None else f"  held-out source IoU {told.iou:.4f}"
    typer.echo(f"step {told.done}/{told.steps}  loss {told.loss:.4f}{held_out}", err=True)
    sys.stderr.flush()
