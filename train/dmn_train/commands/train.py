"""`dmn train`: train a network from a recipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dmn_train.finish import Outcome
from dmn_train.loop import Progress as Told
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe, Recipe, load_recipe


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file (docs/training.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder to write.")],
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's loop.seed.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="In place of a key of the recipe; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Drop a former run in the folder.")] = False,
) -> None:
    """Train a network from a recipe and write a run folder."""
    overrides = [*(set_ or []), *([] if seed is None else [f"loop.seed={seed}"])]
    placed = load_recipe(recipe, tuple(overrides))
    if note := _unused_target(placed.recipe):
        typer.echo(note, err=True)
    console = Console(stderr=True)
    if console.is_terminal:
        outcome = _with_bar(console, placed, output, resume=resume, overwrite=overwrite)
    else:
        outcome = train(
            placed, output, resume=resume, overwrite=overwrite, tell=lambda told: _line(told, placed)
        )
    if outcome.leads:
        for sentence in outcome.alarms:
            typer.echo(f"warning: {sentence}", err=True)
        typer.echo(_summary(placed, output, outcome))


def _unused_target(recipe: Recipe) -> str:
    """Return a remark on a target that nothing is learned from; "" where there is none."""
    used = recipe.method.name != "source_only" or recipe.method.histogram_matching > 0
    if not recipe.data.target or used:
        return ""
    return "note: the target is measured, not adapted to: method.name is source_only (docs/adaptation.md)"


def _with_bar(
    console: Console, placed: PlacedRecipe, output: Path, *, resume: bool, overwrite: bool
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

        return train(placed, output, resume=resume, overwrite=overwrite, tell=tell)


def _line(told: Told, placed: PlacedRecipe) -> None:
    if told.iou is None and told.done % placed.recipe.log.every and told.done != told.steps:
        return
    held_out = "" if told.iou is None else f"  held-out source IoU {told.iou:.4f}"
    typer.echo(f"step {told.done}/{told.steps}  loss {told.loss:.4f}{held_out}", err=True)
    sys.stderr.flush()


def _summary(placed: PlacedRecipe, output: Path, outcome: Outcome) -> str:
    held_out = "" if outcome.iou is None else f", held-out source fg IoU {outcome.iou:.4f}"
    if outcome.selected != outcome.steps:
        held_out += f", weights of step {outcome.selected} kept"
    return (
        f"{output}: {outcome.steps} steps in {outcome.wall_s:.0f} s, loss {outcome.loss:.4f}{held_out}\n"
        f"next: dmn export {output} -o {placed.recipe.name}.zip"
    )
