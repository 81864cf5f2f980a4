"""The build in a process of its own, and all the ways in which such a process ends badly."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import EngineError, MissingExtra, OutputError
from dmn_runtime.trt import child
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.child import build_in_child
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.plan_header import read_header
from dmn_runtime.trt.profile import fixed_profile
from dmn_runtime.trt.progress import Progress

JOB = BuildJob("tensorrt_rtx", "fp32", fixed_profile(1, 16, 2), ("SM86",))


@pytest.fixture(autouse=True)
def findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child find the package by the way by which this process found it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def _speaking(script: str) -> list[str]:
    """Return a child that runs `script` instead of a build."""
    return [sys.executable, "-c", f"import os, sys, json, signal, time\n{script}"]


def test_builds(tmp_path: Path, network: bytes, rtx: Library) -> None:
    seen: list[Progress] = []
    build_in_child(JOB, network, tmp_path / "small.plan", progress=seen.append)
    plan = (tmp_path / "small.plan").read_bytes()
    assert read_header(plan).version == rtx.version
    assert [path.name for path in tmp_path.iterdir()] == ["small.plan"]
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_what_the_library_says_comes_over(tmp_path: Path, rtx: Library) -> None:
    with pytest.raises(EngineError, match=r"cannot read the network: .*Failed to parse"):
        build_in_child(JOB, b"no network" * 9, tmp_path / "small.plan")
    assert list(tmp_path.iterdir()) == []


def test_an_older_plan_stays_where_the_build_fails(tmp_path: Path) -> None:
    (tmp_path / "small.plan").write_bytes(b"older")
    with pytest.raises(EngineError):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=_speaking("sys.exit(3)"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit(3)", "ended with status 3 before the plan was written and said nothing"),
        ("print('out of\\nhope', file=sys.stderr); sys.exit(1)", "status 1 .*; its last words: out of hope"),
        ("print('{}')", "answered with nonsense"),
        ("print('hello')", "answered with nonsense .b'hello"),
        ("print('[1]')", "answered with nonsense"),
        ("print('x' * 200000)", "answered with nonsense"),
        ("print(json.dumps({'phase': 'p', 'fraction': 'all'}))", "answered with nonsense"),
        ("print(json.dumps({'built': 5}))", "says that it built a plan and wrote none"),
        ("print(json.dumps({'built': 5})); sys.exit(1)", "status 1 before the plan was written"),
        ("print(json.dumps({'error': 'no luck', 'kind': 'KeyError'}))", "^no luck$"),
    ],
)
def test_a_child_that_ends_badly(script: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=said):
        build_in_child(JOB, b"\0" * 300_000, tmp_path / "small.plan", command=_speaking(script))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_child_that_crashes_or_is_killed(name: str, tmp_path: Path) -> None:
    script = (
        f"open({str(tmp_path / '.small.plan.partial')!r}, 'w').write('half')\n"
        f"os.kill(os.getpid(), signal.{name})"
    )
    with pytest.raises(EngineError, match=f"was ended by {name} before the plan was written"):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=_speaking(script))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "error"), [("MissingExtra", MissingExtra), ("OutputError", OutputError)])
def test_the_kind_of_an_error_comes_over(kind: str, error: type[Exception], tmp_path: Path) -> None:
    script = f"print(json.dumps({{'error': 'so it is', 'kind': '{kind}'}}))"
    with pytest.raises(error, match=r"^so it is$"):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=_speaking(script))


def test_a_plan_for_others_is_not_kept(tmp_path: Path) -> None:
    script = (
        f"open({str(tmp_path / '.small.plan.partial')!r}, 'w').write('x' * 99)\n"
        "print(json.dumps({'built': 99}))"
    )
    with pytest.raises(EngineError, match="no TensorRT-RTX plan"):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=_speaking(script))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    really = child._start

    def start(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(really(*arguments))
        return started[0]

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(child, "_start", start)
    script = "print(json.dumps({'phase': 'p', 'fraction': 0.5}), flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        build_in_child(JOB, b"", tmp_path / "small.plan", progress=interrupt, command=_speaking(script))
    assert started[0].poll() is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("uuid", "seen"), [("GPU-1234", "GPU-1234"), (None, "as before")])
def test_the_device_is_pinned(
    uuid: str | None, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as before")
    script = "print(json.dumps({'error': os.environ['CUDA_VISIBLE_DEVICES']}))"
    with pytest.raises(EngineError, match=f"^{seen}$"):
        build_in_child(JOB, b"", tmp_path / "small.plan", uuid, command=_speaking(script))


def test_the_request_arrives_whole(tmp_path: Path) -> None:
    script = (
        "head = json.loads(sys.stdin.buffer.readline()); rest = sys.stdin.buffer.read()\n"
        "words = head['job']['precision'], str(len(rest)), os.path.basename(head['output'])\n"
        "print(json.dumps({'error': ' '.join(words)}))"
    )
    with pytest.raises(EngineError, match=r"^fp32 300000 \.small\.plan\.partial$"):
        build_in_child(JOB, b"\n" * 300_000, tmp_path / "small.plan", command=_speaking(script))


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the build process cannot be started"):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=[str(tmp_path / "nothing")])


def test_a_folder_that_is_not_there(tmp_path: Path, network: bytes, rtx: Library) -> None:
    with pytest.raises(OutputError, match=r"small\.plan"):
        build_in_child(JOB, network, tmp_path / "nowhere" / "small.plan")


def test_what_libraries_print_is_no_answer(tmp_path: Path) -> None:
    """Standard output is kept for the child's answers: what a library prints there is not one."""
    script = (
        "from dmn_runtime.trt import child\n"
        "answers = child._take_stdout()\n"
        "os.write(1, b'a library speaks\\n')\n"
        'answers.write(b\'{"error": "only this"}\\n\')\n'
        "answers.flush()\n"
    )
    with pytest.raises(EngineError, match=r"^only this$"):
        build_in_child(JOB, b"", tmp_path / "small.plan", command=_speaking(script))
