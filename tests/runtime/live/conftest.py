"""A microscope in miniature: a clock that only pauses move, and slices that come when it says so."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from dmn_runtime.live.arrivals import Entry, list_folder
from dmn_runtime.live.head import Timing
from dmn_runtime.live.layout import LiveOptions
from dmn_runtime.live.run import LiveWatch, watch_folder
from dmn_runtime.report import Report
from dmn_runtime.setup import Options

SHAPE = (48, 70)


def smooth(seed: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """Return a slice of smooth random grey values."""
    coarse = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return (coarse // 2 + np.roll(coarse, 1, axis=1) // 2).astype(np.uint8)


def encoded(pixels: NDArray[Any], suffix: str, folder: Path) -> bytes:
    """Return the bytes of a slice's file."""
    path = folder / f"encoded{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack", compression=None)
    else:
        Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


Event = Callable[[], None]


class Microscope:
    """Writes slices into `folder` as the clock goes on; `timing` is the seam that a run is given.

    Every pause moves the clock by its length and does the next event. When there are none left and the run
    goes on waiting, it is stuck, which is an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder.parent
        self.events: list[Event] = []
        self.now_s = 0.0
        self.idle = 0
        self.said: list[str] = []
        self.shown: list[str] = []
        self.out_of_sight = False
        folder.mkdir(exist_ok=True)

    def pause(self, seconds: float) -> None:
        self.now_s += seconds
        if self.events:
            self.events.pop(0)()
            self.idle = 0
        else:
            self.idle += 1
            assert self.idle < 100, f"the run waits for ever: {self.shown[-1:]}, {self.said}"

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.now_s, self.pause, self.list_folder)

    def list_folder(self, folder: Path) -> dict[str, Entry]:
        if self.out_of_sight:
            raise OSError(errno.ESTALE, "Stale file handle")
        return list_folder(folder)

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def run(self, package: Path, output: Path, live: LiveOptions, **more: Any) -> Report | None:
        """Run live mode, on ONNX Runtime unless told otherwise: bytes must not depend on speeds."""
        given = {"engine": "cpu", "workers": 2, **more}
        options = Options(str(package), str(self.folder), output, **given)
        watch = LiveWatch(self.said.append, self.shown.append)
        return watch_folder(options, live, watch, self.timing)


@pytest.fixture
def microscope(tmp_path: Path) -> Iterator[Microscope]:
    """Return a microscope over an empty folder."""
    return Microscope(tmp_path / "slices")
