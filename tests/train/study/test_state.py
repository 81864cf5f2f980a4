"""Which run folders a study takes for its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RunError
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe, Recipe, parse_recipe
from dmn_train.run import RUN_JSON, STARTED_JSON
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
from dmn_train.study.state import State, check_start, first_difference, state_of, states_of

Load = Callable[..., PlacedStudy]


@pytest.fixture
def jobs(study: Load, folder: Path) -> dict[str, Job]:
    return {job.id: job for job in plan_study(study(), folder / "out")}


def planned(job: Job) -> Recipe:
    assert job.recipe is not None
    return parse_recipe(job.recipe, job.id)


def leave(job: Job, name: str, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    recipe = planned(job).as_json()
    change(recipe)
    job.folder.mkdir(parents=True)
    (job.folder / name).write_text(json.dumps({"recipe": recipe, "data": []}))


def test_an_unfinished_run_of_the_recipe_is_resumed(jobs: dict[str, Job]) -> None:
    job = jobs["A/other/seed0"]
    assert state_of(job) is State.ABSENT
    leave(job, STARTED_JSON)
    assert state_of(job) is State.UNFINISHED


def test_one_that_was_started_over_other_copies_of_the_data_is_begun_anew(jobs: dict[str, Job]) -> None:
    job = jobs["A/other/seed0"]
    here = job.folder.parents[3].name
    leave(
        job,
        STARTED_JSON,
        lambda recipe: recipe["data"]["source"].update(image=f"/elsewhere/{here}/source.tif"),
    )
    assert state_of(job) is State.FOREIGN


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ("log", "every", "unfinished run whose log.every was 9 and is 1: change it back to go on"),
        ("loop", "checkpoint_every", "loop.checkpoint_every was 9 and is 2"),
        (None, "description", 'description was 9 and is ""'),
    ],
)
def test_an_unfinished_run_keeps_its_checkpoint_if_only_idle_keys_differ(
    jobs: dict[str, Job], section: str | None, key: str, said: str
) -> None:
    job = jobs["A/other/seed0"]
    value: Any = 9 if section else "9"
    change = lambda recipe: (recipe[section] if section else recipe).update({key: value})  # noqa: E731
    leave(job, STARTED_JSON, change)
    with pytest.raises(RunError, match=said.replace('was 9 and is "', 'was "9" and is "')):
        state_of(job)


def test_a_run_of_another_recipe_is_refused_by_name_and_key(jobs: dict[str, Job]) -> None:
    job = jobs["A/other/seed0"]
    leave(job, STARTED_JSON, lambda recipe: recipe["loop"].update(steps=5))
    with pytest.raises(RunError, match=r"A/other/seed0 holds .* \(loop.steps was 5 and is 4\): move it away"):
        state_of(job)


def test_a_damaged_start_is_refused(jobs: dict[str, Job]) -> None:
    job = jobs["A/other/seed0"]
    leave(job, STARTED_JSON)
    (job.folder / STARTED_JSON).write_text("{")
    with pytest.raises(RunError, match=r"started.json is damaged"):
        state_of(job)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("data", "source", "image"), "/elsewhere/lab/set/image.tif", None),
        (("data", "source", "image"), "/elsewhere/lab/other/image.tif", "data.source.image was"),
        (("data", "target"), [{"image": "../../set/other.tif"}], "data.target was"),
        (("data", "source", "mask"), "/elsewhere/lab/set/cells.tif", "data.source.mask was"),
        (("init", "run"), "/elsewhere/study/shared/strong/seed0", None),
        (("init", "run"), "../../shared/strong/seed1", "init.run was"),
        (("init", "run"), "../../shared/weak/seed0", "init.run was"),
        (("loop", "device"), "cuda", None),
        (("loop", "checkpoint_every"), 7, None),
        (("log", "every"), 7, None),
        (("loop", "seed"), 7, "loop.seed was 7 and is 0"),
        (("method", "histogram_matching"), 0.25, "method.histogram_matching was 0.25 and is 0.5"),
        (("optimiser", "lr"), 0.25, "optimiser.lr was"),
    ],
)
def test_recipes_differ_in_what_makes_the_weights(
    jobs: dict[str, Job], keys: tuple[str, ...], value: object, said: str | None
) -> None:
    now = planned(jobs["A/other/seed0"]).as_json()
    now["data"]["source"].update(image="../../set/image.tif", mask="../../set/mask.tif")
    now["data"]["target"][0]["image"] = "../../set/image.tif"
    before = json.loads(json.dumps(now))
    table = before
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    found = first_difference(
        PlacedRecipe(parse_recipe(before, "before"), Path("/there/runs/A/other")),
        PlacedRecipe(parse_recipe(now, "now"), Path("/here/runs/A/other")),
    )
    assert found is None if said is None else found is not None and found.startswith(said)


def test_a_finished_run_counts_wherever_it_was_trained_until_its_start_is_another(
    jobs: dict[str, Job], placed: Callable[..., PlacedRecipe], folder: Path
) -> None:
    first, second = jobs["shared/strong/seed0"], jobs["A/other/seed0"]
    train(PlacedRecipe(planned(first), first.folder.parent), first.folder)
    assert state_of(first) is State.FINISHED
    check_start(first)

    leave(second, RUN_JSON)
    facts = json.loads((first.folder / RUN_JSON).read_text())
    facts["recipe"] = planned(second).as_json()
    facts["init"] = {"weights_sha256": facts["weights_sha256"]}
    (second.folder / RUN_JSON).write_text(json.dumps(facts))
    assert state_of(second) is State.FINISHED
    check_start(second)
    facts["init"] = {"weights_sha256": "another"}
    (second.folder / RUN_JSON).write_text(json.dumps(facts))
    with pytest.raises(RunError, match="did not start from the weights"):
        states_of((first, second))
    (first.folder / RUN_JSON).unlink()
    assert states_of((second,)) == {second.id: State.FINISHED}
