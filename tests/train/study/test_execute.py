"""What is carried out when, and what happens when it is stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dmn_train.run import CHECKPOINT, RUN_JSON
from dmn_train.study import execute as module
from dmn_train.study.execute import Devices, End, Told, cuda_devices, execute, training_words
from dmn_train.study.job import Job
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
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


def test_no_device_is_shared_while_another_idles() -> None:
    devices = Devices(["3", "5"])
    with ExitStack() as first, ExitStack() as second:
        assert first.enter_context(devices.lend()) == (0, "3")
        assert second.enter_context(devices.lend()) == (1, "5")
        with devices.lend() as shared:
            assert shared == (0, "3")
        second.close()
        with devices.lend() as idle, devices.lend() as third:
            assert (idle, third) == ((1, "5"), (0, "3"))
    with Devices([]).lend() as none:
        assert none is None


@pytest.mark.parametrize(("given", "wanted"), [("3", "3"), (None, "2")])
def test_a_training_has_its_device_and_its_share_of_the_cores_unless_the_user_set_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None, wanted: str
) -> None:
    seen: list[dict[str, str]] = []

    class Process:
        def __init__(self, command: list[str], *, env: dict[str, str], **_: object) -> None:
            seen.append(env)

        def wait(self) -> int:
            return 3

    monkeypatch.setattr(module, "logical_cores", lambda: 5)
    monkeypatch.setattr(module.subprocess, "Popen", Process)
    monkeypatch.setattr(module.torch, "set_num_threads", lambda _: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    job = Job("A/x/seed0", ("A",), "x", None, 0, {}, tmp_path / "seed0", ())
    told: list[Told] = []
    ends = execute((job,), {job.id: State.ABSENT}, {}, at_once=2, tell=told.append)
    assert ends == {job.id: End.FAILED}
    assert told[0].words == "A/x/seed0: training ended with status 3: it said nothing"
    assert (seen[0]["OMP_NUM_THREADS"], seen[0]["CUDA_VISIBLE_DEVICES"]) == (wanted, "7")


def test_a_stopped_study_does_not_wait_for_scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = Job("A/x/seed0", ("A",), "x", None, 0, None, tmp_path / "seed0", ())
    scoring, scored = threading.Event(), list[str]()

    def score(
        folder: Path, protocol: str, test: object, check: Callable[[], None], *, structures: bool
    ) -> None:
        del folder, protocol, test, structures
        scoring.set()
        for _ in range(500):  # a volume that takes its time
            check()
            time.sleep(0.01)
        scored.append("to the end")

    def interrupted(*_: object, **__: object) -> None:
        assert scoring.wait(PATIENCE_S)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "ensure_scored", score)
    monkeypatch.setattr(module, "wait", interrupted)
    tests: Any = {"A": None}
    with pytest.raises(KeyboardInterrupt):
        execute((job,), {job.id: State.FINISHED}, tests, at_once=1, tell=lambda _: None)
    assert scored == []


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
