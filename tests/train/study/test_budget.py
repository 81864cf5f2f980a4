"""What arms cost, from run.json written by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmn_train.networks.sizes import SIZES, size_name
from dmn_train.run import load_run
from dmn_train.study.budget import Chains
from dmn_train.study.costs import BUDGET_NAMES, budget_cells, hours_note
from dmn_train.study.result import Result
from dmn_train.study.score import Score
from dmn_train.study.sections import ArmSection
from dmn_train.study.tables import ArmLine

Facts = dict[str, Any]
CPU = "a CPU, 2 threads"


def run(sha256: str, steps: int, wall_s: float, **more: Any) -> Facts:
    return {
        "weights_sha256": sha256,
        "steps": steps,
        "wall_s": wall_s,
        "resumed_at": 0,
        "device_name": CPU,
        "network": {"base": 8, "levels": 3, "context_slices": 0},
        "parameters": 134_000,
        "init": None,
        **more,
    }


def after(role: str, start: Facts, folder: str = "nowhere") -> Facts:
    recipe = {"init": {"run": folder}, "method": {"distil": {"teacher": folder}}}
    told = {key: start[key] for key in ("weights_sha256", "steps")}
    return {role: told, "recipe": recipe, "recipe_folder": "."}


def chains(*runs: Facts) -> Chains:
    score = Score(np.ones((1, 4), np.int64), None, None)
    return Chains([Result("A", "x", None, 0, score, {}, facts, "", Path(), "") for facts in runs])


def test_starts_and_teachers_are_counted_once_in_the_order_of_training() -> None:
    start = run("start", 2000, 3600.0)
    teacher = run("teacher", 300, 720.0, **after("init", start))
    student = run("student", 100, 360.0, **after("init", start) | after("teacher", teacher))
    budget = chains(start, teacher).budget([student])
    assert (budget.steps, budget.hours) == ("2000 + 300 + 100", pytest.approx(1.3))
    assert (budget.steps_known, budget.hours_known, budget.devices) == (True, True, (CPU,))
    assert budget_cells(budget) == [
        "2000 + 300 + 100",
        "1.30",
        "s8",
        f"{budget.multiply_adds_per_px:,.0f}",
        "134,000",
    ]
    assert len(budget_cells(None)) == len(BUDGET_NAMES)


def test_hours_are_the_mean_over_seeds_and_steps_that_differ_stand_beside_each_other() -> None:
    budget = chains().budget([run("a", 300, 3600.0), run("b", 300, 7200.0), run("c", 250, 7200.0)])
    assert (budget.steps, budget.hours) == ("300 or 250", pytest.approx(5 / 3))


def test_of_a_run_that_was_stopped_and_went_on_hours_are_a_lower_bound() -> None:
    budget = chains().budget([run("a", 300, 3600.0, resumed_at=100)])
    assert budget_cells(budget)[:2] == ["300", "≥ 1.00"]


def test_a_start_outside_the_study_is_read(run_folder: Path) -> None:
    start = load_run(run_folder).facts
    told = after("init", start, run_folder.name) | {"recipe_folder": str(run_folder.parent)}
    budget = chains().budget([run("b", 300, 3600.0, **told)])
    assert (budget.steps, budget.steps_known, budget.hours_known) == ("2 + 300", True, True)
    anew = told | {"init": {"weights_sha256": "before", "steps": 9}}
    assert chains().budget([run("b", 300, 3600.0, **anew)]).steps_known is False


def test_of_a_start_that_is_gone_steps_and_hours_are_lower_bounds() -> None:
    budget = chains().budget([run("b", 300, 3600.0, **after("init", run("gone", 2000, 1.0)))])
    assert budget_cells(budget)[:2] == ["≥ 2000 + 300", "≥ 1.00"]


def test_a_table_says_on_what_its_hours_were_spent() -> None:
    one, other = chains().budget([run("a", 1, 1.0)]), chains().budget([run("b", 1, 1.0, device_name="a GPU")])
    lines = [
        ArmLine(ArmSection(name=name), None, None, budget) for name, budget in (("x", one), ("y", other))
    ]
    assert hours_note(lines[:1]) == f"Hours: on {CPU}."
    assert hours_note(lines) == f"Hours: on {CPU} (x); on a GPU (y)."
    assert hours_note([ArmLine(ArmSection(name="x"), None, None)]) == ""


def test_a_network_that_reads_several_slices_says_so() -> None:
    spec = {"base": 16, "levels": 3, "context_slices": 1}
    assert chains().budget([run("a", 1, 1.0, network=spec)]).network == "s16, 3 slices"


def test_sizes_have_names() -> None:
    assert [size_name(spec) for spec in SIZES.values()] == ["s8", "s16", "s32"]
