"""Curves of a run: `curves.csv`, one line a value (step,name,value), and TensorBoard events if wanted.

TensorBoard takes pictures as well.

Every write may raise OutputError: the disk is full, or the system forbids it otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import RunError
from dmn_train.files import translate_write_errors, write_text

HEADER = "step,name,value"


class Curves(Protocol):
    """Where values of a step go."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append named values of `step`."""
        ...

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 yxc, of `step`."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def last_value(path: Path, name: str) -> float | None:
    """Return the last value of a curve; None where the file has no such curve.

    Raises:
        RunError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise RunError(f"{path} is missing: put it back, or train again")
    try:
        values = [line.rsplit(",", 1)[1] for line in _lines(path) if line.split(",")[1] == name]
        return float(values[-1]) if values else None
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{path} cannot be read ({error}): put it back, or train again") from error


class CsvCurves:
    """Curves in a CSV file that a resumed run cuts back to its checkpoint."""

    def __init__(self, path: Path, *, done: int) -> None:
        """Open `path`, keeping the lines of steps up to `done`."""
        kept = [line for line in _lines(path) if int(line.partition(",")[0]) <= done]
        write_text(path, "\n".join([HEADER, *kept]) + "\n")
        self._path = path
        with translate_write_errors(path):
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append named values of `step`."""
        with translate_write_errors(self._path):
            for name, value in values.items():
                self._file.write(f"{step},{name},{value:.6g}\n")

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Ignore the picture: a table has no place for it, and the run folder keeps the last ones as PNG."""

    def close(self) -> None:
        """Close the file."""
        with translate_write_errors(self._path):
            self._file.close()


class TensorBoardCurves:
    """Curves as TensorBoard events."""

    def __init__(self, folder: Path, *, done: int) -> None:
        """Write events into `folder`; those after step `done` are taken back."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with translate_write_errors(folder):
            self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append named values of `step`."""
        with translate_write_errors(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 yxc, of `step`."""
        with translate_write_errors(self._folder):
            self._writer.add_image(name, rgb, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file."""
        with translate_write_errors(self._folder):
            self._writer.close()


class NoCurves:
    """No curves: all devices but the first have nothing to write."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class ManyCurves:
    """The same curves in several places."""

    places: tuple[Curves, ...]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append named values of `step`."""
        for place in self.places:
            place.add(step, values)

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 yxc, of `step`."""
        for place in self.places:
            place.picture(step, name, rgb)

    def close(self) -> None:
        """Close all."""
        for place in self.places:
            place.close()


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    # A killed run may leave a line cut short: only whole lines are kept.
    return [
        line
        for line in path.read_text(encoding="utf-8").split("\n")[1:-1]
        if line.count(",") == 2 and line.partition(",")[0].isdigit()
    ]
