"""The finished runs that a run comes from: what gave it its first weights, what taught it, and theirs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dmn_runtime.errors import RunError
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.run import RUN_JSON, Run, load_run


def lineage(run: Run) -> Iterator[Run]:
    """Yield a run and those that it comes from, each once.

    A run that is not there any more, and what it came from, is passed over: nothing is known of it.

    Raises:
        RunError: one of them is damaged.
    """
    seen: set[Path] = set()
    waiting = [run]
    while waiting:
        one = waiting.pop(0)
        if one.folder.resolve() not in seen:
            seen.add(one.folder.resolve())
            yield one
            waiting += _before(one)


def run_at(folder: Path) -> Run | None:
    """Return the finished run of a folder, None where there is none.

    Raises:
        RunError: it is damaged.
    """
    return load_run(folder) if (folder / RUN_JSON).is_file() else None


def starts_of(placed: PlacedRecipe) -> list[Path]:
    """Return the folders of the runs that a recipe starts from and learns from."""
    return [folder for _, folder in named_starts(placed)]


def named_starts(placed: PlacedRecipe) -> Iterator[tuple[str, Path]]:
    """Yield the same folders, each after the key of run.json that has its facts: init, teacher."""
    for fact, text in _named(placed.recipe):
        yield fact, Path(placed.locate(text))


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the runs that a recipe names, each after the key of run.json that says what it was."""
    if recipe.init is not None:
        yield "init", recipe.init.run
    if recipe.method.distil is not None:
        yield "teacher", recipe.method.distil.teacher


def _before(run: Run) -> list[Run]:
    """Return the runs that a run started from and learned from."""
    found = [_named_by(run, text, run.facts.get(fact)) for fact, text in _named(run.placed.recipe)]
    return [one for one in found if one is not None]


def _named_by(run: Run, text: str, recorded: dict[str, Any] | None) -> Run | None:
    """Return the run that a finished run's recipe calls `text`, with the weights that were recorded of it.

    It is looked for where the recipe lay and where the run lies now: folders of runs are moved whole.
    """
    weights = (recorded or {}).get("weights_sha256")
    damaged: RunError | None = None
    for place in (Path(run.placed.locate(text)), run.folder.parent / text):
        try:
            one = run_at(place)
        except RunError as error:
            damaged = error
            continue
        if one is not None and weights in (None, one.facts["weights_sha256"]):
            return one
    if damaged is not None:
        raise damaged
    return None
