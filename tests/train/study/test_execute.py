"""What is carried out when, and what happens when it is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_train.run import CHECKPOINT, RUN_JSON
from dmn_train.study.execute import cuda_devices, training_words
from dmn_train.study.job import Job
from dmn_train.study.plan import plan_study
from dmn_train.study.sections import PlacedStudy
from dmn_train.study.state import State, state_of

Load = Callable[..., PlacedStudy]
PATIENCE_S = 60


def test_the_words_of_a_training_follow_its_state() -> None:
    job = Job("A/x/seed0", ("A",), "x", None, 0, {}, Path("out/A/x/seed0"), ())
    plain = ["train", "out/A/x/seed0.toml", "-o", "out/A/x/seed0"]
    assert training_words(job, State.ABSENT) == plain
    assert training_words(job, State.UNFINISHED) == [*plain, "--resume"]
    assert training_words(job, State.FOREIGN) == [*plain, "--overwrite"]


def test_the_devices_that_the_user_leaves_visible_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert cuda_devices() == ["3", "5"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_stops_its_trainings_which_leave_a_checkpoint(
    study: Load, folder: Path, number: signal.Signals
) -> None:
    text = study().path.read_text().partition("[finetune]")[0]
    long = "shared = true\nset = { loop = { steps = 100000, checkpoint_every = 100000 } }"
    placed = study(("seeds = [0, 1]", "seeds = [0]"), ("shared = true", long), text=text)
    job = plan_study(placed, folder / "out")[0]
    command = [sys.executable, "-m", "dmn_runtime", "study", str(placed.path), "-o", str(folder / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while "step " not in (job.log_file.read_text() if job.log_file.is_file() else ""):
            assert time.monotonic() < deadline_s
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, number)  # as a terminal does: it goes to all that share the session's group
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert (job.folder / CHECKPOINT).is_file()
    assert not (job.folder / RUN_JSON).exists()
    assert state_of(job) is State.UNFINISHED
