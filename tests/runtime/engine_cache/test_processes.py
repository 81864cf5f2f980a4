"""Several processes, and processes that die: real ones."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .child import PLAN
from .conftest import KEY, Workshop

CHILD = Path(__file__).with_name("child.py")
PATIENCE_S = 60


@pytest.fixture
def start(tmp_path):
    """Return a starter of children; those still alive at the end are killed."""
    children = []

    def start_child(how="build"):
        words = [sys.executable, str(CHILD), str(tmp_path), json.dumps(KEY.to_json()), how]
        # `dmn_runtime` is found as it was found here.
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = os.environ | {"PYTHONPATH": paths}
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        children.append(child)
        return child

    yield start_child
    for child in children:
        child.kill()
        child.communicate()


def wait_for(condition, child):
    """Wait until the condition holds, and fail if the child ends first or never comes to it."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert child.poll() is None, "the child ended"
        assert time.monotonic() < end, "the child hangs"
        time.sleep(0.01)


def builders(tmp_path):
    """Return the ids of the processes that began a build."""
    path = tmp_path / "builds"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def finish(child):
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    return out


def test_of_two_processes_one_builds_and_the_other_waits(start, tmp_path):
    first = start()
    wait_for(lambda: builders(tmp_path), first)
    second = start()
    wait_for(lambda: (tmp_path / "said").exists() or builders(tmp_path) != [first.pid], second)
    assert builders(tmp_path) == [first.pid]
    (tmp_path / "go").touch()
    assert finish(first) == "built: the engine cache has none\n"
    assert finish(second) == "cached: another process built it meanwhile\n"
    said = "another process builds the engine of mito-s16 (fp16, tensorrt_rtx): waiting for it"
    assert (tmp_path / "said").read_text() == said
    assert builders(tmp_path) == [first.pid]
    workshop = Workshop(tmp_path / "cache")
    assert workshop.names() == [KEY.digest]
    assert workshop.obtain().plan == PLAN


def test_four_at_once_build_once(start, tmp_path):
    (tmp_path / "go").touch()
    outs = [finish(child) for child in [start() for _ in range(4)]]
    assert len(builders(tmp_path)) == 1
    assert sorted(out.splitlines()[-1].partition(":")[0] for out in outs) == ["built"] + 3 * ["cached"]


def test_a_build_killed_half_way_leaves_nothing_after_the_next(start, tmp_path):
    child = start()
    wait_for(lambda: builders(tmp_path), child)
    child.kill()
    child.wait()
    workshop = Workshop(tmp_path / "cache")
    [partial] = workshop.names()
    assert partial.startswith(f".building-{KEY.digest}-")
    assert (workshop.folder / "engines" / partial / "engine.plan").stat().st_size == 100
    obtained = workshop.obtain()
    assert (obtained.plan, obtained.how, workshop.builds) == (workshop.plan, "built", 1)
    assert workshop.names() == [KEY.digest]


@pytest.mark.parametrize("how", ["fsync", "rename"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_process_that_dies_while_keeping(start, tmp_path, how, damaged):
    workshop = Workshop(tmp_path / "cache")
    if damaged:
        workshop.obtain()
        os.truncate(workshop.entry() / "engine.plan", 10)
    (tmp_path / "go").touch()
    assert start(how).wait(PATIENCE_S) == 9
    assert len(workshop.names()) == 1 + (damaged and how == "fsync")
    workshop.checked.clear()
    assert workshop.obtain().plan == workshop.plan
    assert workshop.checked == [workshop.plan]
    assert workshop.names() == [KEY.digest]


def test_a_build_of_another_engine_is_not_touched(start, tmp_path):
    child = start()
    wait_for(lambda: builders(tmp_path), child)
    workshop = Workshop(tmp_path / "cache")
    other = type(KEY)(**(KEY.to_json() | {"precision": "int8-trt"}))
    assert workshop.obtain(other).how == "built"
    (tmp_path / "go").touch()
    assert finish(child) == "built: the engine cache has none\n"
    assert workshop.names() == sorted([KEY.digest, other.digest])
