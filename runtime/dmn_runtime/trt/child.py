"""A build in a process of its own: it may crash, be killed or hold a GPU, and this process goes on.

The child is `python -m dmn_runtime.trt.child`. Its standard input is one line of JSON (job and output) and
the ONNX file after it; its standard output is one JSON object a line: {"phase", "fraction"} while it builds,
then {"built"} or {"error", "kind"}. What libraries print there goes to standard error instead.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from dmn_runtime.errors import DmnError, EngineError, MissingExtra, OutputError
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.builder import build, check_plan
from dmn_runtime.trt.library import load_library
from dmn_runtime.trt.progress import Progress, Report, ignore
from dmn_runtime.whole_file import whole_file

COMMAND = (sys.executable, "-P", "-m", "dmn_runtime.trt.child")
"""-P: a module in the working folder is not taken for ours."""

_KINDS: dict[str, type[DmnError]] = {kind.__name__: kind for kind in (EngineError, OutputError, MissingExtra)}
_LONGEST_LINE = 1 << 16
_LAST_WORDS = 400


def build_in_child(
    job: BuildJob,
    network: bytes,
    output: Path,
    device_uuid: str | None = None,
    progress: Report = ignore,
    command: Sequence[str] = COMMAND,
) -> None:
    """Build a plan in a child process and put it, checked and whole, at `output`.

    Args:
        job: what to build.
        network: the ONNX file.
        output: the plan's file; its folder must exist. Left as it was if the build fails or is interrupted.
        device_uuid: the only GPU that the child sees ("GPU-..."); None: all that this process sees.
        progress: told how far the build is; what it raises ends the child and comes out here.
        command: the child.

    Raises:
        EngineError: the build failed, or the child crashed, was killed or spoke nonsense.
        MissingExtra: the library is not installed.
        OutputError: the plan cannot be written.
    """
    with whole_file(output, "plan") as partial:
        request = (
            json.dumps({"job": job.to_json(), "output": str(partial.absolute())}).encode() + b"\n" + network
        )
        _converse(command, request, device_uuid, progress)
        if not partial.is_file():
            raise EngineError("the build process says that it built a plan and wrote none: build it again")
        check_plan(partial.read_bytes(), job)


def _converse(command: Sequence[str], request: bytes, device_uuid: str | None, progress: Report) -> None:
    """Run the child to its end; it never outlives this call."""
    environment = dict(os.environ)
    if device_uuid is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device_uuid
    with TemporaryFile() as last_words:
        child = _start(command, environment, last_words)
        assert child.stdin is not None
        assert child.stdout is not None
        feeder = threading.Thread(target=_feed, args=(child.stdin, request), daemon=True)
        feeder.start()
        try:
            built = _listen(child.stdout, progress)
            status = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            feeder.join()
            child.stdout.close()
        if status != 0 or not built:
            raise EngineError(
                f"the build process {_end(status)} before the plan was written{_tail(last_words)}"
            )


def _start(command: Sequence[str], environment: dict[str, str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 (this interpreter, our own module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no console flashes up on Windows
        )
    except OSError as error:
        raise EngineError(
            f"the build process cannot be started ({error}): check the Python installation"
        ) from error


def _feed(pipe: IO[bytes], request: bytes) -> None:
    """Write the request; a child that ends early is told of by its status, not by the broken pipe."""
    with suppress(OSError):
        pipe.write(request)
    with suppress(OSError):
        pipe.close()


def _listen(pipe: IO[bytes], progress: Report) -> bool:
    """Pass the child's progress on; return whether it says that the plan is built."""
    built = False
    for line in iter(lambda: pipe.readline(_LONGEST_LINE), b""):
        message = _message(line)
        if "error" in message:
            raise _KINDS.get(message.get("kind", ""), EngineError)(str(message["error"]))
        if "built" in message:
            built = True
        else:
            progress(Progress(str(message["phase"]), float(message["fraction"])))
    return built


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
        known = "error" in message or "built" in message or (message["phase"], float(message["fraction"]))
    except (ValueError, TypeError, KeyError) as error:
        raise EngineError(f"the build process answered with nonsense ({line[:80]!r}): build again") from error
    if not known or not isinstance(message, dict):
        raise EngineError(f"the build process answered with nonsense ({line[:80]!r}): build again")
    return message


def _end(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _tail(errors: IO[bytes]) -> str:
    """Return the end of what the child wrote to standard error, as the end of a sentence."""
    errors.seek(0)
    words = " ".join(errors.read().decode("utf-8", "replace").split())
    return f"; its last words: {words[-_LAST_WORDS:]}" if words else " and said nothing"


def main() -> int:
    """Serve one request; see the head of this file."""
    answers = _take_stdout()

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields).encode() + b"\n")
        answers.flush()

    try:
        content = _serve(sys.stdin.buffer, answer)
    except DmnError as error:
        kind = next(
            (name for name, known in _KINDS.items() if isinstance(error, known)), EngineError.__name__
        )
        answer(error=str(error), kind=kind)
        return 0
    answer(built=content)
    return 0


def _take_stdout() -> IO[bytes]:
    """Return standard output for our answers alone; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _serve(request: IO[bytes], answer: Any) -> int:
    head = json.loads(request.readline())
    job, output = BuildJob.from_json(head["job"]), Path(head["output"])
    shown = -1.0

    def report(progress: Progress) -> None:
        nonlocal shown
        if progress.fraction - shown >= 0.01:
            shown = progress.fraction
            answer(phase=progress.phase, fraction=progress.fraction)

    plan = build(job, request.read(), load_library(job.library), report)
    try:
        output.write_bytes(plan)
    except OSError as error:
        raise OutputError(
            f"the plan {output} cannot be written ({error.strerror}): check the folder and the free space"
        ) from error
    return len(plan)


if __name__ == "__main__":
    sys.exit(main())
