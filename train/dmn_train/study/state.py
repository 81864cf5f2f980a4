"""What is left of a job: its folder is absent, unfinished or finished, or holds a run of another recipe."""

import json
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from dmn_runtime.errors import RunError
from dmn_train.recipe import PlacedRecipe, parse_recipe
from dmn_train.run import RUN_JSON, STARTED_JSON, load_run
from dmn_train.study.job import Job

IDLE_KEYS = (("name",), ("description",), ("log",), ("loop", "device"), ("loop", "checkpoint_every"))
"""Keys that leave the weights as they are, or that run.json records otherwise."""
KEPT_PARTS = {"image": 2, "mask": 2, "valid": 2, "run": 3, "teacher": 3}
"""How much of a path counts: a folder that was trained elsewhere had its data elsewhere."""


class State(Enum):
    """How far a job is."""

    ABSENT = "absent"
    UNFINISHED = "unfinished"
    FOREIGN = "unfinished, started over other copies of the data"
    FINISHED = "finished"


def state_of(job: Job) -> State:
    """Look at a job's folder.

    Raises:
        RunError: it holds a run of another recipe, or a damaged one, or an unfinished one of which no more
            differs than `IDLE_KEYS`.
    """
    finished = (job.folder / RUN_JSON).is_file()
    if not finished and not (job.folder / STARTED_JSON).is_file():
        return State.ABSENT
    planned = job.placed
    if planned is None:
        return State.FINISHED if finished else State.UNFINISHED
    recorded = load_run(job.folder).placed if finished else _started(job)
    if (difference := first_difference(recorded, planned)) is not None:
        raise RunError(
            f"{job.folder} holds a run of another recipe than the study has now ({difference}): "
            "move it away, or choose another -o"
        )
    if finished:
        return State.FINISHED
    # Such a run cannot be resumed under the planned recipe, and nobody asked to drop its checkpoint.
    if (idle := _difference(_shortened(recorded), _shortened(planned), "")) is not None:
        raise RunError(
            f"{job.folder} holds an unfinished run whose {idle}: change it back to go on from its "
            "checkpoint, or move the folder away to begin anew"
        )
    return State.UNFINISHED if recorded.recipe == planned.recipe else State.FOREIGN


def check_start(job: Job) -> None:
    """Refuse a finished run that did not start, or learn, from the weights that the other run has now.

    Where the other run is not there, as when only some folders were copied, there is nothing to compare.

    Raises:
        RunError: the run that it started from, or its teacher, was trained again since.
    """
    placed = job.placed
    if placed is None:
        return
    init, distil = placed.recipe.init, placed.recipe.method.distil
    if init is not None:
        _check_weights(job, "init", placed.locate(init.run), "start")
    if distil is not None:
        _check_weights(job, "teacher", placed.locate(distil.teacher), "learn")


def _check_weights(job: Job, fact: str, run: str, verb: str) -> None:
    """Refuse a run unless `fact` of its run.json names the weights of another run; `verb` is for people."""
    other = Path(run).resolve()
    if not (other / RUN_JSON).is_file():
        return
    recorded = (load_run(job.folder).facts.get(fact) or {}).get("weights_sha256")
    if recorded != load_run(other).facts["weights_sha256"]:
        raise RunError(
            f"{job.folder} did not {verb} from the weights that {other} has now: "
            "move it away to train it again"
        )


def _started(job: Job) -> PlacedRecipe:
    path = job.folder / STARTED_JSON
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}): move its folder away") from error
    return PlacedRecipe(parse_recipe(values, str(path)), job.folder.parent)


def first_difference(recorded: PlacedRecipe, planned: PlacedRecipe) -> str | None:
    """Say where two recipes differ in what makes the weights; None where they do not.

    Keys that one of them lacks have their defaults; of paths the last parts count alone (the last folder and
    the file of a volume, protocol, arm and seed of a run).
    """
    return _difference(_essence(recorded), _essence(planned), "")


def _essence(placed: PlacedRecipe) -> dict[str, Any]:
    values = _shortened(placed)
    for *path, last in IDLE_KEYS:
        table = values
        for key in path:
            table = table[key]
        table.pop(last, None)
    return values


def _shortened(placed: PlacedRecipe) -> dict[str, Any]:
    """Return a recipe with the last parts of its paths alone."""
    values = placed.recipe.as_json()
    data, distil = values["data"], values["method"]["distil"]
    for section in (data["source"], *data["target"], values["init"] or {}, distil or {}):
        for key, parts in KEPT_PARTS.items():
            if isinstance(section.get(key), str):
                section[key] = "/".join(Path(placed.locate(section[key])).parts[-parts:])
    return values


def _difference(before: Any, now: Any, key: str) -> str | None:
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        within: Iterable[str | None] = (
            _difference(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
            for name in {**before, **now}
        )
        return next(filter(None, within), None)
    return f"{key} was {json.dumps(before)} and is {json.dumps(now)}"


def states_of(jobs: tuple[Job, ...]) -> dict[str, State]:
    """Return the state of every job by its id.

    Raises:
        RunError: a folder holds a run of another recipe, or one that started or learned from other weights.
    """
    states = {job.id: state_of(job) for job in jobs}
    for job in jobs:
        if states[job.id] is State.FINISHED:
            check_start(job)
    return states
