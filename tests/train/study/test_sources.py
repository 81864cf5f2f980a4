"""Protocols on another labelled source than the base recipe's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study

from .conftest import FINETUNE, OTHER_SOURCE, STUDY

Load = Callable[..., PlacedStudy]
Change = tuple[str, str]


@pytest.fixture
def plan(study: Load, folder: Path) -> Callable[..., dict[str, Job]]:
    """Return a function that plans the study with another source, one seed, with changes (old, new)."""

    def make(*changes: Change, text: str = STUDY + OTHER_SOURCE) -> dict[str, Job]:
        placed = study(("seeds = [0, 1]", "seeds = [0]"), *changes, text=text)
        return {job.id: job for job in plan_study(placed, folder / "out")}

    return make


def recipe(job: Job) -> dict[str, Any]:
    assert job.recipe is not None
    return job.recipe


def test_a_shared_arm_is_trained_once_a_source_and_tested_where_that_source_is(
    plan: Callable[..., dict[str, Job]], folder: Path
) -> None:
    jobs = plan()
    assert {job.id: (job.protocols, job.depends_on) for job in jobs.values()} == {
        "shared/strong/seed0": (("A", "B"), ()),
        "vnc/strong/seed0": (("back",), ()),
        "A/other/seed0": (("A",), ("shared/strong/seed0",)),
        "B/other/seed0": (("B",), ("shared/strong/seed0",)),
        "back/other/seed0": (("back",), ("vnc/strong/seed0",)),
    }
    assert jobs["vnc/strong/seed0"].folder == folder / "out" / "vnc" / "strong" / "seed0"
    assert recipe(jobs["back/other/seed0"])["init"] == {"run": "../../vnc/strong/seed0"}


def test_protocols_without_a_source_are_as_without_any_sources(plan: Callable[..., dict[str, Job]]) -> None:
    alone, beside = plan(text=STUDY), plan()
    assert {job_id: beside[job_id] for job_id in alone} == alone


def test_the_source_is_laid_over_the_base_and_below_protocol_and_arm(
    plan: Callable[..., dict[str, Job]],
) -> None:
    jobs = plan()
    shared, adapted = recipe(jobs["vnc/strong/seed0"]), recipe(jobs["back/other/seed0"])
    assert shared["data"] == {
        "source": {
            "image": "../../../image.tif",
            "mask": "../../../mask.tif",
            "voxel_nm": [5.0, 5.0, 5.0],
            "slices": [0, 4],
        }
    }
    assert adapted["data"]["source"] == shared["data"]["source"]
    assert adapted["data"]["target"][0]["image"] == "../../../source.tif"
    assert (shared["loop"]["steps"], shared["loop"]["batch"]) == (3, 2)
    assert (adapted["loop"]["steps"], adapted["loop"]["batch"]) == (4, 2)
    assert recipe(jobs["A/other/seed0"])["loop"]["batch"] == 4
    no_shared_arm = STUDY.replace("shared = true", "") + OTHER_SOURCE
    protocol = ("[protocol.set.data]\ntarget = [{ image = \"source", "[protocol.set]\nloop.batch = 1\n"
                "[protocol.set.data]\ntarget = [{ image = \"source")  # fmt: skip
    assert recipe(plan(protocol, text=no_shared_arm)["back/other/seed0"])["loop"]["batch"] == 1


def test_fine_tuning_starts_from_the_run_of_the_protocols_source_with_its_keys(
    plan: Callable[..., dict[str, Job]],
) -> None:
    fine = (
        FINETUNE.replace('"B"', '"back"')
        .replace("image.tif", "third.tif")
        .replace("steps = 2", "crop_px = 64")
    )
    jobs = plan(text=STUDY + OTHER_SOURCE + fine)
    made = recipe(jobs["back/strong-f0.5/seed0"])
    assert jobs["back/strong-f0.5/seed0"].depends_on == ("vnc/strong/seed0",)
    assert made["init"] == {"run": "../../vnc/strong/seed0"}
    assert made["data"]["source"]["image"] == "../../../third.tif"
    assert "slices" not in made["data"]["source"]
    assert (made["loop"]["steps"], made["loop"]["batch"], made["loop"]["crop_px"]) == (3, 2, 64)
    assert recipe(jobs["back/other-f1/seed0"])["init"] == {"run": "../other/seed0"}


def test_a_shared_arm_is_trained_only_on_sources_where_it_is_tested_or_started_from(
    plan: Callable[..., dict[str, Job]],
) -> None:
    start = '[[arm]]\nname = "start"\nshared = true\nprotocols = ["A"]\n'
    started = ("shared = true\n\n", 'shared = true\ninit = "start"\nprotocols = ["back"]\n')
    jobs = plan(started, text=STUDY + OTHER_SOURCE + start)
    assert (jobs["shared/start/seed0"].protocols, jobs["vnc/start/seed0"].protocols) == (("A",), ())
    assert jobs["vnc/strong/seed0"].depends_on == ("vnc/start/seed0",)
    # "other" starts from "strong" in A and B too, where "strong" takes no part.
    assert jobs["shared/strong/seed0"].protocols == ()
    jobs = plan(started, ('init = "strong"\n', ""), text=STUDY + OTHER_SOURCE + start)
    assert "shared/strong/seed0" not in jobs


def test_finished_runs_are_taken_by_source(plan: Callable[..., dict[str, Job]], folder: Path) -> None:
    jobs = plan(("shared = true", 'run = "runs/{source}/{seed}"'))
    assert jobs["shared/strong/seed0"].folder == folder / "runs" / "shared" / "0"
    assert jobs["vnc/strong/seed0"].folder == folder / "runs" / "vnc" / "0"
    assert recipe(jobs["back/other/seed0"])["init"] == {"run": "../../../runs/vnc/0"}


TESTED = '[protocol.test]\nimage = "source.tif"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "vnc"', 'name = "A"', "source A has the name of a protocol"),
        ('name = "vnc"', 'name = "shared"', "source shared has the name of what all protocols share"),
        ('name = "vnc"', 'name = "v/c"', "'v/c' names no file"),
        ('source = "vnc"', 'source = "vcn"', "protocol back: source names vcn, known are vnc"),
        (
            "[source.set.data.source]",
            "[source.set.data]\ntarget = []\n[source.set.data.source]",
            "no data.target",
        ),
        ("batch = 2", "bach = 2", "vnc/strong/seed0: unknown key loop.bach"),
        (
            '[[protocol]]\nname = "back"',
            "[[source]]\nname = 'vnc'\n[[protocol]]\nname = 'back'",
            "vnc is there tw",
        ),
        (
            "shared = true",
            'run = "runs/{seed}"',
            r"strong takes the same runs for .* several sources: put {source}",
        ),
        (
            TESTED,
            '[protocol.test]\nimage = "image.tif"',
            "vnc/strong/seed0 has labels of the part of .*/image.tif that",
        ),
    ],
)
def test_what_is_wrong_with_a_source_is_named(
    plan: Callable[..., dict[str, Job]], old: str, new: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        plan((old, new))
