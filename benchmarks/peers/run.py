"""DMN beside MONAI, torch-em, bioimageio.core and plain PyTorch: same student, same volume, same run.

    python benchmarks/peers/run.py \
        --volume vnc=vnc/image.tif,50x4.6x4.6,vnc/mito.tif \
        --student s16=runs/s16,s16.zip --student s8=runs/s8,s8.zip --rounds 5 --out docs/results

Every peer runs in an environment of its own (made once, pinned in *.txt beside this file), each contestant in
a fresh process with the same cores, all taking turns round by round. What is measured goes at once into
OUT/throughput-peers.json; the same command goes on where it was stopped. At the end it writes
OUT/throughput.md and its plots; --report-only does that alone. --dry-run says what would be done and checks
all arguments, installing and measuring nothing.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest.arguments import (
    STUDENT_FORM,
    VOLUME_FORM,
    StudentWish,
    VolumeWish,
    once_each,
    parse_python,
    parse_student,
    parse_volume,
)
from contest.environments import OWN, PINS, Environment, environment, inventory, make
from contest.material import Student, facts_of, open_student, prepare, working_shape
from contest.roster import REFERENCE, ROSTERS, Contestant
from contest.rounds import Contest, Course
from contest.store import Record, begin, load

from dmn_runtime import __version__
from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, DmnError, UsageError
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.machine import cpu_model, instruction_sets, logical_cores

RESULTS = "throughput-peers.json"
NAMES = tuple(sorted(path.stem for path in PINS.glob("*.txt")))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--volume", action="append", default=[], metavar=VOLUME_FORM, help="8-bit volume")
    made.add_argument("--student", action="append", default=[], metavar=STUDENT_FORM, help="run and package")
    made.add_argument("--rounds", type=int, default=5, help="how often each contestant runs [5]")
    made.add_argument("--device", choices=sorted(ROSTERS), default="cpu", help="where [cpu]")
    made.add_argument("--cores", type=int, help="logical cores for every contestant [all]")
    made.add_argument("--only", help="contestants, comma-separated [all of the device's roster]")
    made.add_argument("--out", type=Path, required=True, help="folder of throughput.md and its JSON")
    made.add_argument("--envs", type=Path, help="folder of the environments [in DMN's cache]")
    made.add_argument(
        "--python", action="append", default=[], metavar="ENVIRONMENT=PATH",
        help=f"an interpreter to use as it is, instead of making one of {', '.join(NAMES)}",
    )  # fmt: skip
    made.add_argument("--work", type=Path, help="folder for scratch files and caches [temporary]")
    made.add_argument("--timeout", type=float, default=1800, help="seconds for one process [1800]")
    made.add_argument("--fresh", action="store_true", help="forget what was measured before")
    made.add_argument("--retry", action="store_true", help="try again what was left out before")
    made.add_argument("--dry-run", action="store_true", help="check and say; install and measure nothing")
    made.add_argument("--report-only", action="store_true", help="make the page of what was measured")
    return made


def main(words: list[str]) -> int:
    """Run the command; return the exit status."""
    given = parser().parse_args(words)
    # To be ended is to be interrupted: the contestant that runs ends as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.report_only:
            report(given.out)
        else:
            contest(given)
    except DmnError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def report(out: Path) -> None:
    """Make the page and its plots of what was measured."""
    from contest.page import write_page

    for path in write_page(load(out / RESULTS), out):
        print(path)


def contest(given: argparse.Namespace) -> None:
    """Check everything, then measure and report, or only say what would be done."""
    cores = checked_numbers(given)
    volumes = once_each("--volume", [parse_volume(words) for words in given.volume])
    wishes = once_each("--student", [parse_student(words) for words in given.student])
    students = [open_student(wish) for wish in wishes]
    roster = chosen_roster(given.device, given.only)
    envs = (given.envs or cache_folder() / "peers").absolute()
    named = dict(parse_python(words, NAMES) for words in given.python)
    needed = dict.fromkeys([REFERENCE.environment, *(one.environment for one in roster)])
    environments = {name: environment(name, envs, named) for name in needed}
    config = config_of(given, cores, volumes, students, roster)
    if given.dry_run:
        print("\n".join(intentions(config, environments, roster)))
        return
    if given.device == "cuda" and not visible_gpus():
        raise UsageError("--device cuda: no NVIDIA driver answers on this machine: take --device cpu")
    for one in environments.values():
        make(one, print)
    store = begin(given.out / RESULTS, config, machine_of(environments), fresh=given.fresh)
    if given.retry:
        store.left_out.clear()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if given.work is None else given.work.absolute()
        courses = tuple(
            course_of(volume, wish, student, folder)
            for volume in volumes
            for wish, student in zip(wishes, students, strict=True)
        )
        Contest(courses, roster, environments, given.device, cores, given.timeout, store, print).run(
            given.rounds
        )
    report(given.out)


def checked_numbers(given: argparse.Namespace) -> int:
    """Return the cores; refuse numbers that make no sense.

    Raises:
        UsageError: one does not.
    """
    cores: int = logical_cores() if given.cores is None else given.cores
    if not 1 <= cores <= logical_cores():
        raise UsageError(f"--cores {cores}: this process may use 1 to {logical_cores()}")
    if given.rounds < 1:
        raise UsageError(f"--rounds {given.rounds} measures nothing: give at least 1")
    if not given.timeout > 0:
        raise UsageError(f"--timeout {given.timeout:g} lets nothing finish: give a number of seconds")
    return cores


def chosen_roster(device: Any, only: str | None) -> tuple[Contestant, ...]:
    """Return who takes part.

    Raises:
        UsageError: a name is not in the device's roster.
    """
    roster = ROSTERS[device]
    if only is None:
        return roster
    words = [word.strip() for word in only.split(",")]
    known = [one.name for one in roster]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: on {device} there are {', '.join(known)}")
    return tuple(one for one in roster if one.name in words)


def config_of(
    given: argparse.Namespace,
    cores: int,
    volumes: tuple[VolumeWish, ...],
    students: list[Student],
    roster: tuple[Contestant, ...],
) -> Record:
    """Return what is asked; a contest that was asked otherwise is another one."""
    sizes = {student.contract.working_voxel_nm for student in students}
    if len(sizes) > 1:
        raise UsageError(
            f"the students work at {' and '.join(map(str, sizes))} nm, so that their volumes differ: "
            "give each a contest of its own"
        )
    [working_nm] = sizes
    return {
        "device": given.device,
        "cores": cores,
        "volumes": {wish.name: facts_of(wish, working_shape(wish, working_nm)) for wish in volumes},
        "students": {one.name: student_facts(one) for one in students},
        "contestants": [one.name for one in roster],
    }


def student_facts(student: Student) -> Record:
    """Return what identifies a student."""
    return {
        "network": student.spec,
        "working_voxel_nm": student.contract.working_voxel_nm,
        "threshold": student.contract.threshold,
        "weights_sha256": student.weights_sha256,
        "package_sha256": student.package.sha256,
        "precisions": sorted(student.contract.precisions),
    }


def machine_of(environments: dict[str, Environment]) -> Record:
    """Return what measured."""
    gpus = visible_gpus()
    return {
        "cpu": cpu_model(),
        "logical_cores": logical_cores(),
        "instruction_sets": list(instruction_sets() or ()),
        "gpus": [gpu.name for gpu in gpus],
        "dmn": __version__,
        "environments": {name: inventory(one) for name, one in environments.items()},
    }


def course_of(volume: VolumeWish, wish: StudentWish, student: Student, folder: Path) -> Course:
    """Prepare one volume for one student."""
    own = folder / f"{volume.name}-{wish.name}"
    own.mkdir(parents=True, exist_ok=True)
    return Course(volume.name, wish.name, prepare(volume, student.contract, own), student, own)


def intentions(
    config: Record, environments: dict[str, Environment], roster: tuple[Contestant, ...]
) -> list[str]:
    """Say what would be done."""
    lines = []
    for name, one in environments.items():
        pins = ", ".join(f"{distribution}=={version}" for distribution, version in one.pins.items())
        state = "this interpreter" if name == OWN else "as given" if one.folder is None else (
            "ready" if one.is_ready else "would be made"
        )  # fmt: skip
        lines.append(f"environment {name}: {pins or 'DMN itself'} ({state})")
    for name, facts in config["volumes"].items():
        shape = " x ".join(map(str, facts["working_shape"]))
        lines.append(f"volume {name}: {facts['file']}, {shape} voxels on the working grid")
    for name, facts in config["students"].items():
        lines.append(
            f"student {name}: weights {facts['weights_sha256'][:12]}, {', '.join(facts['precisions'])}"
        )
    lines += [f"contestant {one.name}: {one.words} ({len(one.choices)} settings)" for one in roster]
    return [*lines, f"on {config['device']} with {config['cores']} cores"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
