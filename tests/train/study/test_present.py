"""What is missing is said before the first training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.errors import RunError, VolumeError
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
from dmn_train.study.present import check_present
from dmn_train.study.state import State, states_of

Load = Callable[..., PlacedStudy]


def check(placed: PlacedStudy, output: Path) -> None:
    jobs = plan_study(placed, output)
    check_present(jobs, states_of(jobs))


def test_all_is_there(study: Load, tmp_path: Path) -> None:
    check(study(), tmp_path / "out")


def test_a_missing_target_is_named_with_the_run_that_reads_it(study: Load, tmp_path: Path) -> None:
    gone = study(('target]]\nimage = "image.tif"', 'target]]\nimage = "gone.tif"'))
    with pytest.raises(VolumeError, match=r"gone\.tif, which A/other/seed0 reads, does not exist: check the"):
        check(gone, tmp_path / "out")


def test_what_is_finished_needs_no_data(study: Load, tmp_path: Path) -> None:
    jobs = plan_study(study(('target]]\nimage = "image.tif"', 'target]]\nimage = "gone.tif"')), tmp_path)
    check_present(jobs, {job.id: State.FINISHED for job in jobs})


def test_a_run_that_is_taken_as_it_is_must_be_there(study: Load, tmp_path: Path) -> None:
    taken = study(('label = "source only"\nshared = true', 'run = "runs/seed{seed}"'))
    with pytest.raises(RunError, match=r"runs.seed0, taken as it is for .*strong/seed0, holds no"):
        check(taken, tmp_path / "out")
