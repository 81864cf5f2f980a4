"""Ctrl-C and SIGTERM as a flag that is asked between two steps, so that no step is torn."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupt:
    """Whether somebody asked to stop."""

    wanted: bool = False


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Turn the first stop signal into a flag; a second one stops at once. Main thread only."""
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interrupt.wanted:
            raise KeyboardInterrupt
        interrupt.wanted = True

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
