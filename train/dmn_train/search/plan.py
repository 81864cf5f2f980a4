"""What a search will train: every point of the grid on every fold, checked before the first step."""

from dataclasses import dataclass
from pathlib import Path

from dmn_runtime.errors import UsageError
from dmn_train.recipe import PlacedRecipe, load_recipe
from dmn_train.search.folds import Fold, phantom_folds, slice_folds, source_slices
from dmn_train.search.grid import Axis, Point, points_of


@dataclass(frozen=True)
class Job:
    """One run of a search.

    Attributes:
        point: its settings.
        fold: what it holds out.
        placed: the whole recipe.
        folder: the run folder, below that of the search.
    """

    point: Point
    fold: Fold
    placed: PlacedRecipe
    folder: Path


@dataclass(frozen=True)
class Plan:
    """A search; its jobs go through all points before the next fold, so that an early look is a fair one."""

    points: tuple[Point, ...]
    folds: tuple[Fold, ...]
    jobs: tuple[Job, ...]


def plan_search(recipe: Path, overrides: tuple[str, ...], axes: tuple[Axis, ...], folds: int) -> Plan:
    """Lay out a search; of the volumes only the source's header is read, and only if slices are not given.

    Args:
        recipe: the recipe, a TOML file; its [validate] gives way to the folds.
        overrides: keys that are the same for all points ("loop.steps=100").
        axes: of the grid; none is a plain cross-validation of the recipe.
        folds: how many.

    Raises:
        DmnError: a key or value is wrong at any point, or the folds cannot be cut.
    """
    points = points_of(axes)
    # The first point's recipe stands for all of them: the grid may not touch the source.
    cut = _cut_folds(load_recipe(recipe, (*overrides, *points[0].overrides)), folds)
    jobs = tuple(
        Job(point, fold, _placed(recipe, overrides, point, fold), Path(point.folder_name, fold.name))
        for fold in cut
        for point in points
    )
    return Plan(points, cut, jobs)


def _cut_folds(placed: PlacedRecipe, count: int) -> tuple[Fold, ...]:
    recipe = placed.recipe
    if recipe.data.source.phantom is None:
        return slice_folds(source_slices(placed), count)
    held_out = recipe.validate_.phantoms if recipe.validate_ else None
    return phantom_folds(recipe.data.source.phantom, held_out, count)


def _placed(recipe: Path, overrides: tuple[str, ...], point: Point, fold: Fold) -> PlacedRecipe:
    placed = load_recipe(recipe, (*overrides, *point.overrides, *fold.overrides))
    if placed.recipe.select.rule == "held_out":
        raise UsageError(
            'select.rule is "held_out", which would choose weights on the slices that score them: '
            "search with --set select.rule=last"
        )
    if placed.recipe.loop.devices > 1:
        # Fabric starts the command again for every further device, and each would go through the search.
        raise UsageError(
            f"loop.devices is {placed.recipe.loop.devices}, but the runs of a search take one device each: "
            "search with --set loop.devices=1"
        )
    return placed
