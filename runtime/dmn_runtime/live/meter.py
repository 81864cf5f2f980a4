"""Where the lag meter is shown: one line that changes on a terminal, a line every few seconds elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TextIO, final

from rich.console import Console

from dmn_runtime.live.run import LiveWatch

EVERY_S = 5.0


@final
class Lines:
    """Writes a line where it says something new, at most once in `every_s`."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float], every_s: float) -> None:
        """Write with `write`, by the clock `now` (seconds)."""
        self._write = write
        self._now = now
        self._every_s = every_s
        self._last = ""
        self._next_s = float("-inf")
        self._lock = Lock()

    def show(self, line: str) -> None:
        """Write `line` if it is due and new."""
        with self._lock:
            if line != self._last and self._now() >= self._next_s:
                self._last, self._next_s = line, self._now() + self._every_s
                self._write(line)


@contextmanager
def metering(stream: TextIO | None = None) -> Iterator[LiveWatch]:
    """Offer a `LiveWatch` on stderr: stdout belongs to --json."""
    file = sys.stderr if stream is None else stream
    console = Console(file=file)

    def write(line: str) -> None:
        print(line, file=file, flush=True)

    if not console.is_terminal:
        yield LiveWatch(write, Lines(write, monotonic, EVERY_S).show)
        return
    with console.status("") as status:

        def say(sentence: str) -> None:
            console.print(sentence, markup=False, highlight=False)

        def show(line: str) -> None:
            status.update(line.replace("[", r"\["))

        yield LiveWatch(say, show)
