"""Arms that are taught by another arm's run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RecipeError, RunError
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe, parse_recipe
from dmn_train.run import RUN_JSON
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
from dmn_train.study.state import State, first_difference, states_of

from .conftest import FINETUNE, OTHER_SOURCE, STUDENT, STUDY

Load = Callable[..., PlacedStudy]
Plan = Callable[..., dict[str, Job]]


@pytest.fixture
def plan(study: Load, folder: Path) -> Plan:
    """Return a function that plans the study with a student, with changes (old, new)."""

    def make(*changes: tuple[str, str], text: str = STUDY + STUDENT) -> dict[str, Job]:
        return {job.id: job for job in plan_study(study(*changes, text=text), folder / "out")}

    return make


def placed_of(job: Job) -> PlacedRecipe:
    assert job.placed is not None
    return job.placed


def teacher_of(job: Job) -> str:
    assert job.recipe is not None
    teacher: str = job.recipe["method"]["distil"]["teacher"]
    return teacher


def test_a_student_comes_after_its_teacher_of_the_same_seed_protocol_and_source(plan: Plan) -> None:
    jobs = plan(text=STUDY + OTHER_SOURCE + STUDENT)
    student = jobs["B/student/seed1"]
    assert student.depends_on == ("B/other/seed1",)
    assert teacher_of(student) == "../other/seed1"
    assert placed_of(student).locate(teacher_of(student)) == str(jobs["B/other/seed1"].folder)
    assert list(jobs).index("B/other/seed1") < list(jobs).index("B/student/seed1")
    assert "init" not in (student.recipe or {})
    shared = plan(('teacher = "other"', 'teacher = "strong"'), text=STUDY + OTHER_SOURCE + STUDENT)
    assert teacher_of(shared["back/student/seed0"]) == "../../vnc/strong/seed0"
    assert teacher_of(shared["A/student/seed0"]) == "../../shared/strong/seed0"


def test_an_arm_may_have_first_weights_and_a_teacher(plan: Plan) -> None:
    job = plan(('teacher = "other"', 'init = "strong"\nteacher = "other"'))["A/student/seed0"]
    assert job.depends_on == ("shared/strong/seed0", "A/other/seed0")
    assert (job.recipe or {})["init"] == {"run": "../../shared/strong/seed0"}
    assert teacher_of(job) == "../other/seed0"


def test_a_student_is_fine_tuned_without_its_teacher(plan: Plan) -> None:
    fine = FINETUNE.replace('["strong", "other"]', '["student"]')
    job = plan(text=STUDY + STUDENT + fine)["B/student-f1/seed0"]
    assert job.depends_on == ("B/student/seed0",)
    assert (job.recipe or {})["method"] == {"name": "source_only"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('teacher = "other"\n', "", "A/student/seed0 has method distil and no teacher: name the arm"),
        (
            'teacher = "other"\nset = { method.name = "distil",',
            'teacher = "other"\nset = { method.name = "adabn",',
            'student/seed0 has a teacher, but its method is adabn: set method.name = "distil"',
        ),
        ('"distil",', '"distil", method.distil.teacher = "x",', None),
        (
            'teacher = "other"',
            'teacher = "nobody"',
            "arm student: teacher names nobody, known are strong, other",
        ),
        (
            'teacher = "other"',
            'teacher = "student"',
            "the arms student start from each other: change an init or a teacher",
        ),
        ('teacher = "other"', 'teacher = "other"\nrun = "x"', "remove init, teacher and set"),
        ('teacher = "other"', 'teacher = "other"\nshared = true', "so its teacher other must be shared too"),
        (
            'init = "strong"',
            'init = "strong"\nprotocols = ["B"]',
            "student has the teacher other, which leaves out A",
        ),
    ],
)
def test_what_is_wrong_with_a_teacher_is_named(plan: Plan, old: str, new: str, said: str | None) -> None:
    if said is None:
        assert (
            teacher_of(plan((old, new))["A/student/seed0"]) == "../other/seed0"
        )  # as init goes over init.run
        return
    with pytest.raises(RecipeError, match=said):
        plan((old, new))


def test_of_a_teachers_path_the_last_three_parts_count(plan: Plan) -> None:
    placed = placed_of(plan()["A/student/seed0"])

    def taught_by(teacher: str) -> PlacedRecipe:
        values: dict[str, Any] = placed.recipe.as_json()
        values["method"]["distil"]["teacher"] = teacher
        return PlacedRecipe(parse_recipe(values, "test"), placed.folder)

    assert first_difference(taught_by("/elsewhere/A/other/seed0"), placed) is None
    difference = first_difference(taught_by("/elsewhere/A/other/seed1"), placed)
    assert difference is not None
    assert difference.startswith('method.distil.teacher was "A/other/seed1"')


def test_a_finished_student_counts_until_its_teacher_is_another(plan: Plan) -> None:
    jobs = plan(('init = "strong"\n', ""), ("shared = true\n", 'shared = true\nprotocols = ["B"]\n'))
    teacher, student = jobs["A/other/seed0"], jobs["A/student/seed0"]
    for job in (teacher, student):
        train(placed_of(job), job.folder)
    assert set(states_of((teacher, student)).values()) == {State.FINISHED}
    path = teacher.folder / RUN_JSON
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"weights_sha256": "another"}))
    with pytest.raises(
        RunError, match=r"student.seed0 did not learn from the weights that .*other.seed0 has now"
    ):
        states_of((teacher, student))
    path.unlink()
    assert states_of((student,)) == {student.id: State.FINISHED}
