"""The contest itself: a fresh process for each contestant, who take turns, round by round."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contest.environments import Environment, last_words
from contest.material import Material, Student
from contest.roster import REFERENCE, Contestant, Device, Settings, eligible
from contest.scores import INNER, foreground_iou, grey, off_untiled
from contest.store import Record, Store
from dmn_runtime.errors import EngineError

CHILDREN = Path(__file__).parents[1] / "children"
ROOT = Path(__file__).parents[3]
FEW_SLICES = 3
SEAM_TILE_PX = 128
"""Small tiles for DMN's own seam check: in large ones a slice may be one tile, which has no faces."""


class ChildFailed(Exception):
    """A contestant's process failed; the message is its last word."""


@dataclass(frozen=True)
class Course:
    """A volume and a student, with what all contestants on it share.

    Attributes:
        volume, student: names of the contest.
        material, of: what they are.
        folder: takes scratch files.
    """

    volume: str
    student: str
    material: Material
    of: Student
    folder: Path

    @property
    def key(self) -> Record:
        """Return what its records are found by."""
        return {"volume": self.volume, "student": self.student}


@dataclass(frozen=True)
class Contest:
    """Who meets on what, and how.

    Attributes:
        courses: every volume with every student.
        roster: who takes part.
        environments: by name.
        device, cores: where, and on how many logical cores.
        timeout_s: for one process.
        store: takes what comes of it.
        say: takes sentences for people.
    """

    courses: tuple[Course, ...]
    roster: tuple[Contestant, ...]
    environments: Mapping[str, Environment]
    device: Device
    cores: int
    timeout_s: float
    store: Store
    say: Callable[[str], None]

    def run(self, rounds: int) -> None:
        """Measure what is not yet measured, round by round."""
        for course in self.courses:
            self._refer(course)
        for turn in range(rounds):
            for course in self.courses:
                for contestant in in_turn(self.roster, turn):
                    self._measure(course, contestant, turn)

    def _refer(self, course: Course) -> None:
        """Make the untiled result, and hold the two forms of the student against each other."""
        try:
            self._child(course, REFERENCE, {"settings": REFERENCE.choices[0]}, "untiled")
        except ChildFailed as failure:
            raise EngineError(
                f"PyTorch cannot run the student {course.student} on {course.volume} ({failure}), and "
                "without that there is nothing to compare with: mend that and run again"
            ) from failure
        if self.store.find("equality", **course.key) is None:
            untiled = np.load(course.folder / "untiled.npy")
            found = equality(course, untiled)
            self.store.add("equality", {**course.key, **found})
            if not found["settled"]:
                self.say(
                    f"{course.volume} {course.student}: not settled, so nothing will be judged: ONNX and "
                    f"PyTorch differ by {found['max_dp']:.1e}"
                )

    def _measure(self, course: Course, contestant: Contestant, turn: int) -> None:
        key = {**course.key, "contestant": contestant.name}
        if self.store.find("measurements", **key, round=turn) or self.store.find("left_out", **key):
            return
        lacking = lacks(contestant, course)
        try:
            if lacking is not None:
                raise ChildFailed(lacking)
            settings = self._chosen(course, contestant)
            result = self._child(course, contestant, {"settings": settings}, contestant.name)
            if self.store.find("accuracy", **key) is None:
                self._score(course, contestant, key, settings)
        except ChildFailed as failure:
            self.store.add("left_out", {**key, "why": str(failure)})
            self.say(f"{course.volume} {course.student} {contestant.name}: left out: {failure}")
            return
        finally:
            (course.folder / f"{contestant.name}.npy").unlink(missing_ok=True)
        self.store.add("measurements", {**key, "round": turn, "settings": settings, **result})
        speed = np.prod(course.material.shape) / result["seconds"] / 1e6
        self.say(
            f"round {turn + 1} {course.volume} {course.student} {contestant.name}: "
            f"{result['seconds']:.2f} s, {speed:.2f} Mvoxel/s"
        )

    def _chosen(self, course: Course, contestant: Contestant) -> Settings:
        """Return the settings, by a trial where there are several."""
        _, height, width = course.material.shape
        choices = eligible(contestant, (height, width))
        if len(choices) == 1:
            return choices[0]
        key = {**course.key, "contestant": contestant.name}
        known = self.store.find("trials", **key)
        if known is None:
            asked = {"choices": list(choices), "few": FEW_SLICES}
            tried = self._child(course, contestant, asked, contestant.name)["trials"]
            sound = [trial for trial in tried if "seconds" in trial]
            if not sound:
                raise ChildFailed(tried[-1]["failed"])
            known = {**key, "tried": tried, "chosen": min(sound, key=lambda one: one["seconds"])["settings"]}
            self.store.add("trials", known)
        chosen: Settings = known["chosen"]
        return chosen

    def _score(self, course: Course, contestant: Contestant, key: Record, settings: Settings) -> None:
        probability = np.load(course.folder / f"{contestant.name}.npy")
        labels = course.material.labels
        threshold = course.of.contract.threshold
        record: Record = {
            **key,
            "iou": None if labels is None else foreground_iou(probability, labels, threshold),
            "iou_inner": None
            if labels is None
            else foreground_iou(probability[INNER], labels[INNER], threshold),
            **off_untiled(probability, np.load(course.folder / "untiled.npy")),
        }
        if contestant.program == "dmn_infer":
            checked = {**settings, "tile_px": SEAM_TILE_PX, "check_seams": True}
            detail = self._child(course, contestant, {"settings": checked}, contestant.name)["detail"]
            record["seams_max_grey"] = detail.get("seams_max_grey")
        self.store.add("accuracy", record)

    def _child(self, course: Course, contestant: Contestant, asked: Record, name: str) -> Record:
        """Run one process to its end and return its result.

        Raises:
            ChildFailed: it failed, or took too long.
        """
        result, job = course.folder / f"{name}.result.json", course.folder / f"{name}.job.json"
        result.unlink(missing_ok=True)
        job.write_text(
            json.dumps({**self._shared(course), **asked, "result": str(result),
                        "probability": str(course.folder / f"{name}.npy")}),
            encoding="utf-8",
        )  # fmt: skip
        python = self.environments[contestant.environment].python
        command = [str(python), "-W", "ignore", str(CHILDREN / f"{contestant.program}.py"), str(job)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.timeout_s,
                env=child_environment(self.cores, course.folder),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"it took more than {self.timeout_s:g} s") from None
        except OSError as error:
            raise ChildFailed(f"{python.name} cannot be started ({error.strerror})") from error
        if done.returncode or not result.is_file():
            raise ChildFailed(f"{last_words(done.stderr)} (exit status {done.returncode})")
        found: Record = json.loads(result.read_text(encoding="utf-8"))
        return found

    def _shared(self, course: Course) -> Record:
        return {
            "volume": str(course.material.voxels),
            "voxel_nm": list(course.material.voxel_nm),
            "table": course.material.table,
            "weights": str(course.of.weights),
            "spec": course.of.spec,
            "package": str(course.of.package.path),
            "device": self.device,
            "cores": self.cores,
        }


def in_turn(roster: Sequence[Contestant], turn: int) -> Iterator[Contestant]:
    """Yield the roster, each round beginning with another: nobody always follows the same one."""
    start = turn * max(1, len(roster) // 3) % len(roster)
    yield from (*roster[start:], *roster[:start])


def lacks(contestant: Contestant, course: Course) -> str | None:
    """Return why a contestant cannot meet on a course; None if it can."""
    held = course.of.contract.precisions
    if contestant.precision is not None and contestant.precision not in held:
        return f"the package holds no {contestant.precision}: it did not pass its certificate"
    _, height, width = course.material.shape
    if not eligible(contestant, (height, width)):
        return f"no window of its choices covers a slice of {height} x {width} px"
    return None


def equality(course: Course, untiled: np.ndarray[Any, np.dtype[np.float32]]) -> Record:
    """Hold the package's ONNX network against PyTorch's result, float for float, on the first slice.

    Returns:
        max_dp: largest difference of probabilities; `settled` when it is within 1e-4 (DESIGN.md, 4: parity).
    """
    from dmn_runtime.engines.cpu import open_cpu
    from dmn_runtime.tiles import sigmoid

    halo, stride = course.of.contract.halo_px, course.of.contract.stride_px
    first = np.load(course.material.voxels)[0]
    height, width = first.shape
    padded = np.pad(first, [(halo, halo + -size % stride) for size in first.shape], "reflect")
    table = np.asarray(course.material.table, np.float32)
    runner = open_cpu(course.of.package.network())
    try:
        logits = runner.run(table[padded][None, None])
    finally:
        runner.close()
    onnx = sigmoid(logits)[0, 0, halo : halo + height, halo : halo + width]
    max_dp = float(np.abs(onnx - untiled[0]).max())
    return {"max_dp": max_dp, "settled": max_dp <= 1e-4, "max_grey": int(np.abs(
        grey(onnx).astype(np.int16) - grey(untiled[0])).max())}  # fmt: skip


def child_environment(cores: int, folder: Path) -> dict[str, str]:
    """Return a child's environment variables: one thread budget for all, caches that last for the contest."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "inductor"),
        "DMN_CACHE_DIR": str(folder.parent / "dmn"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BIOIMAGEIO_CACHE_PATH": str(folder.parent / "bioimageio"),
    }
    return {
        **own,
        **threads,
        **caches,
        "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in ("train", "runtime")),
    }
