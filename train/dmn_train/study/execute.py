"""A plan carried out: every job a process of its own, several at a time; nothing is decided here but when.

A job that fails is told with the last words of its log, those that start from it are left out, the rest goes
on.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dmn_runtime.errors import DmnError, RunError
from dmn_runtime.machine import logical_cores
from dmn_train.files import write_text
from dmn_train.run import load_run
from dmn_train.study.job import Job
from dmn_train.study.scored import ensure_scored
from dmn_train.study.state import State, check_start
from dmn_train.study.test_volume import TestVolume
from dmn_train.study.toml import to_toml

LAST_LINES = 5
THREADS = "OMP_NUM_THREADS"  # torch and what it calls take as many
DEVICES = "CUDA_VISIBLE_DEVICES"
STOP_S = 60.0  # how long a stopped training may take to write its checkpoint


class End(Enum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Told:
    """What is told when a job has ended.

    Attributes:
        job: the job.
        end: how.
        words: for people; of a failed job the reason.
        done: jobs that have ended.
        of: jobs in all.
    """

    job: Job
    end: End
    words: str
    done: int
    of: int


def execute(
    jobs: tuple[Job, ...],
    states: dict[str, State],
    tests: dict[str, TestVolume],
    *,
    at_once: int,
    tell: Callable[[Told], None],
    structures: bool = False,
) -> dict[str, End]:
    """Train what is not yet trained, score what is not yet scored, and return how every job ended.

    Args:
        jobs: in an order in which each comes after those it depends on.
        states: of every job, by id.
        tests: the test volume of every protocol.
        at_once: how many jobs at a time; the CPU cores are shared out among them unless OMP_NUM_THREADS is
            set, and a job has the CUDA device that the fewest others have.
        tell: called when a job has ended, from this thread.
        structures: whether objects and boundaries are scored too.

    Raises:
        KeyboardInterrupt: stopped; trainings under way have left a checkpoint.
    """
    if THREADS not in os.environ:
        torch.set_num_threads(_threads(at_once))
    crew = _Crew(states, tests, at_once, structures=structures)
    ends: dict[str, End] = {}
    waiting, running = list(jobs), dict[Future[str], Job]()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while waiting or running:
                for job in [one for one in waiting if _barred(one, ends)]:
                    waiting.remove(job)
                    ends[job.id] = End.LEFT_OUT
                    tell(Told(job, End.LEFT_OUT, "what it starts from failed", len(ends), len(jobs)))
                for job in [one for one in waiting if _ready(one, ends)][: at_once - len(running)]:
                    waiting.remove(job)
                    running[pool.submit(crew.carry_out, job)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    ends[job.id], words = _end_of(future)
                    tell(Told(job, ends[job.id], words, len(ends), len(jobs)))
        except BaseException:
            crew.stop()
            raise
    return ends


def _barred(job: Job, ends: dict[str, End]) -> bool:
    return any(ends.get(before, End.DONE) is not End.DONE for before in job.depends_on)


def _ready(job: Job, ends: dict[str, End]) -> bool:
    return all(ends.get(before) is End.DONE for before in job.depends_on)


def _end_of(future: "Future[str]") -> tuple[End, str]:
    try:
        return End.DONE, future.result()
    except DmnError as error:
        return End.FAILED, str(error)


def _threads(at_once: int) -> int:
    return max(1, logical_cores() // at_once)


class Device(NamedTuple):
    """A CUDA device: its place among those that are visible, and its name in CUDA_VISIBLE_DEVICES."""

    place: int
    name: str

    def current(self) -> AbstractContextManager[Any]:
        """Make it what this thread's "cuda" means."""
        return torch.cuda.device(self.place) if self.place < torch.cuda.device_count() else nullcontext()


class Devices:
    """CUDA devices lent out so that none idles while two jobs share another; for several threads."""

    def __init__(self, names: list[str]) -> None:
        self._jobs = {Device(place, name): 0 for place, name in enumerate(names)}
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[Device | None]:
        """Lend the device that the fewest jobs have, None where there is none, for as long as it is used."""
        if not self._jobs:
            yield None
            return
        with self._lock:
            device = min(self._jobs, key=lambda one: self._jobs[one])
            self._jobs[device] += 1
        try:
            yield device
        finally:
            with self._lock:
                self._jobs[device] -= 1


class _Crew:
    """Those who carry jobs out, in threads; knows the processes that are under way."""

    def __init__(
        self, states: dict[str, State], tests: dict[str, TestVolume], at_once: int, *, structures: bool
    ) -> None:
        self.states = states
        self.tests = tests
        self.structures = structures
        self.threads = _threads(at_once)
        self.devices = Devices(cuda_devices())
        self.stopping = False
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.lock = threading.Lock()

    def carry_out(self, job: Job) -> str:
        """Train and score a job; return what people are told.

        Raises:
            DmnError: it failed.
        """
        begin_s = time.monotonic()
        trained = self.states[job.id] is not State.FINISHED
        with self.devices.lend() as device:
            if trained:
                self._train(job, device)
            check_start(job)
            with device.current() if device else nullcontext():
                for protocol in job.protocols:
                    test = self.tests[protocol]
                    ensure_scored(job.folder, protocol, test, self._check, structures=self.structures)
        return f"{time.monotonic() - begin_s:.0f} s" if trained else "was finished"

    def _check(self) -> None:
        if self.stopping:
            raise RunError("stopped")

    def _train(self, job: Job, device: Device | None) -> None:
        if job.recipe is None:
            load_run(job.folder)  # says what is wrong with a run that the study takes as it is
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        write_text(job.recipe_file, to_toml(job.recipe or {}))
        command = [sys.executable, "-m", "dmn_runtime", *training_words(job, self.states[job.id])]
        with job.log_file.open("wb") as log:
            process = self._start(command, log.fileno(), device)
            status = process.wait()
        with self.lock:
            self.processes.discard(process)
        if status != 0:
            raise RunError(f"{job.id}: training ended with status {status}: {_last_words(job.log_file)}")

    def _start(self, command: list[str], log: int, device: Device | None) -> "subprocess.Popen[bytes]":
        with self.lock:
            self._check()
            environment = {THREADS: str(self.threads), **os.environ}
            if device is not None:
                environment[DEVICES] = device.name
            # In a session of its own, Ctrl-C does not reach it twice: the second would cost the checkpoint.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
            self.processes.add(process)
            return process

    def stop(self) -> None:
        """Ask every training to leave a checkpoint and end; those that do not in time are killed."""
        with self.lock:
            self.stopping = True
            processes = list(self.processes)
        for process in processes:
            process.terminate()
        deadline_s = time.monotonic() + STOP_S
        for process in processes:
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def training_words(job: Job, state: State) -> list[str]:
    """Return what `dmn` is called with to train a job."""
    words = ["train", str(job.recipe_file), "-o", str(job.folder)]
    match state:
        case State.UNFINISHED:
            return [*words, "--resume"]
        case State.FOREIGN:  # its checkpoint was made over other copies of the data
            return [*words, "--overwrite"]
        case _:
            return words


def cuda_devices() -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES calls the devices that are visible."""
    given = os.environ.get(DEVICES, "")
    named = [name.strip() for name in given.split(",") if name.strip()]
    return named or [str(index) for index in range(torch.cuda.device_count())]


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return " / ".join([line for line in lines if line][-LAST_LINES:]) or "it said nothing"
