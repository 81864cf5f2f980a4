"""`dmn train`: train a network from a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from dmn_train.commands.told import tell_alarms, train_and_tell
from dmn_train.finish import Outcome
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
    outcome = train_and_tell(placed, output, resume=resume, overwrite=overwrite)
    if outcome.leads:
        tell_alarms(outcome.alarms)
        typer.echo(_summary(placed, output, outcome))


def _unused_target(recipe: Recipe) -> str:
    """Return a remark on a target that nothing is learned from; "" where there is none."""
    used = recipe.method.name != "source_only" or recipe.method.histogram_matching > 0
    if not recipe.data.target or used:
        return ""
    return "note: the target is measured, not adapted to: method.name is source_only (docs/adaptation.md)"


def _summary(placed: PlacedRecipe, output: Path, outcome: Outcome) -> str:
    held_out = "" if outcome.iou is None else f", held-out source fg IoU {outcome.iou:.4f}"
    if outcome.selected != outcome.steps:
        held_out += f", weights of step {outcome.selected} kept"
    return (
        f"{output}: {outcome.steps} steps in {outcome.wall_s:.0f} s, loss {outcome.loss:.4f}{held_out}\n"
        f"next: dmn export {output} -o {placed.recipe.name}.zip"
    )
