"""`dmn search`: a grid search with cross-validation on the labelled source."""

from pathlib import Path
from typing import Annotated

import typer

from dmn_train.search.execute import CSV, MARKDOWN, run_search
from dmn_train.search.grid import parse_axis
from dmn_train.search.plan import Plan, plan_search
from dmn_train.search.table import Result, Summary, as_markdown, ranked


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file (docs/training.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the runs and the tables.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,VALUE", help="A key of the recipe and its values; may be repeated."),
    ] = None,
    folds: Annotated[int, typer.Option(help="Blocks of the source; each is held out once.")] = 3,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="In place of a key of the recipe; may be repeated."),
    ] = None,
) -> None:
    """Train every point of a grid on every fold of the labelled source and rank the points."""
    overrides = tuple(set_ or ())
    plan = plan_search(recipe, overrides, tuple(parse_axis(text) for text in grid or ()), folds)
    told: list[Result] = []

    def tell(result: Result, former: bool) -> None:
        told.append(result)
        typer.echo(_line(result, len(told), plan, former=former), err=True)

    summaries = ranked(run_search(plan, output, tell))
    typer.echo(as_markdown(summaries))
    typer.echo(_ending(recipe, output, overrides, summaries[0]))


def _line(result: Result, done: int, plan: Plan, *, former: bool) -> str:
    job = result.job
    settings = " ".join([*job.point.overrides, job.fold.name])
    seconds = "there already" if former else f"{result.wall_s:.0f} s"
    return f"run {done}/{len(plan.jobs)}  {settings}  held-out IoU {result.held_out_iou:.4f}  {seconds}"


def _ending(recipe: Path, output: Path, overrides: tuple[str, ...], best: Summary) -> str:
    settings = "".join(f" --set '{override}'" for override in (*overrides, *best.point.overrides))
    return f"{output / CSV}, {output / MARKDOWN}\nnext: dmn train {recipe}{settings} -o RUN"
